"""The words of an invoice, by language; what a language lacks is English."""

from __future__ import annotations

from collections.abc import Mapping

_ENGLISH = {
    "invoice": "Invoice", "credit_note": "Credit note", "draft": "Draft", "void": "Void", "number": "Number",
    "issued_on": "Date of issue", "due_on": "Payment due", "period": "Service period", "bill_to": "Bill to",
    "from": "From", "tax_id": "Tax id", "description": "Description", "quantity": "Quantity",
    "unit_price": "Unit price", "amount": "Amount", "net": "Net amount", "tax": "Tax", "total": "Total",
    "settled": "Settled", "due": "Amount due", "exact": "Exact amount", "carried_in": "Carried in",
    "carried_out": "Carried to the next invoice", "refers_to": "Refers to invoice", "reason": "Reason",
    "page": "Page", "price_book": "Price book", "note_number": "Number",
    "carrying": "Amounts are metered exactly and rounded once. What is left below the smallest unit is carried on.",
}  # fmt: skip
_KOREAN = {
    "invoice": "청구서", "credit_note": "대변표", "draft": "초안", "void": "무효", "number": "청구서 번호",
    "issued_on": "발행일", "due_on": "납부 기한", "period": "이용 기간", "bill_to": "공급받는 자", "from": "공급자",
    "tax_id": "사업자등록번호", "description": "내역", "quantity": "수량", "unit_price": "단가", "amount": "금액",
    "net": "공급가액", "tax": "부가세", "total": "합계", "settled": "결제 금액", "due": "청구 금액",
    "exact": "정확한 금액", "carried_in": "이월된 잔여액", "carried_out": "다음 청구서로 이월",
    "refers_to": "원 청구서", "reason": "사유", "page": "쪽", "price_book": "가격표", "note_number": "대변표 번호",
    "carrying": "사용량은 정확히 계산되어 한 번만 반올림됩니다. 최소 단위 미만의 잔여액은 다음 청구서로 이월됩니다.",
}  # fmt: skip
_JAPANESE = {
    "invoice": "請求書", "credit_note": "貸方票", "draft": "下書き", "void": "無効", "number": "請求書番号",
    "issued_on": "発行日", "due_on": "支払期限", "period": "利用期間", "bill_to": "請求先", "from": "発行者",
    "tax_id": "登録番号", "description": "内容", "quantity": "数量", "unit_price": "単価", "amount": "金額",
    "net": "小計", "tax": "消費税", "total": "合計", "settled": "支払済み", "due": "ご請求額",
    "exact": "正確な金額", "carried_in": "前回からの端数", "carried_out": "次回への端数", "refers_to": "元の請求書",
    "reason": "理由", "page": "ページ", "price_book": "価格表", "note_number": "貸方票番号",
    "carrying": "利用量は正確に計算し、端数処理は一度だけ行います。最小単位未満の端数は次回に繰り越します。",
}  # fmt: skip
_GERMAN = {
    "invoice": "Rechnung", "credit_note": "Gutschrift", "draft": "Entwurf", "void": "Storniert",
    "number": "Rechnungsnummer", "issued_on": "Ausstellungsdatum", "due_on": "Zahlbar bis",
    "period": "Leistungszeitraum", "bill_to": "Rechnung an", "from": "Von", "tax_id": "USt-IdNr.",
    "description": "Beschreibung", "quantity": "Menge", "unit_price": "Einzelpreis", "amount": "Betrag",
    "net": "Nettobetrag", "tax": "Steuer", "total": "Gesamtbetrag", "settled": "Beglichen", "due": "Zu zahlen",
    "exact": "Genauer Betrag", "carried_in": "Übertrag", "carried_out": "Übertrag auf die nächste Rechnung",
    "refers_to": "Zu Rechnung", "reason": "Grund", "page": "Seite", "price_book": "Preisliste",
    "note_number": "Nummer der Gutschrift",
    "carrying": "Gemessen wird genau, gerundet einmal. Was unter der kleinsten Einheit bleibt, wird übertragen.",
}  # fmt: skip
_BY_LANGUAGE: Mapping[str, Mapping[str, str]] = {"en": _ENGLISH, "ko": _KOREAN, "ja": _JAPANESE, "de": _GERMAN}


def labels(language: str) -> Mapping[str, str]:
    """Return every label for a language tag like `ko` or `de-AT`."""
    return {**_ENGLISH, **_BY_LANGUAGE.get(language.replace("_", "-").partition("-")[0].lower(), {})}
