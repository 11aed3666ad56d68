// Forms that answer while they are filled in. A form with data-live="ids" is sent a moment after each change, and the
// elements with those ids are replaced by their counterparts in the page that comes back. Without scripts its button
// does the same. A field with data-whole changes the whole page; one with
// data-settled waits until it is let go of. A form with data-from="id" takes the fields of another form along.

const PAUSE_MS = 180;
const trouble = document.getElementById("trouble");

for (const form of document.querySelectorAll("form[data-live]")) {
  let timer, running;
  const soon = (pause) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      running?.abort();
      running = new AbortController();
      refresh(form, running.signal);
    }, pause);
  };
  form.addEventListener("input", (event) => {
    if (event.target.matches("[data-whole]")) {
      sessionStorage.setItem("at", event.target.name);
      form.submit();
    } else if (!event.target.matches("[data-settled]")) soon(PAUSE_MS);
  });
  form.addEventListener("change", (event) => {
    if (event.target.matches("[data-settled]")) soon(0);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    soon(0);
  });
}

for (const form of document.querySelectorAll("form[data-from]")) {
  form.addEventListener("formdata", (event) => {
    for (const [name, value] of new FormData(document.getElementById(form.dataset.from))) {
      event.formData.append(name, value);
    }
  });
}

// A file that is chosen is read into a field, to be looked at before it is sent; without scripts its text is pasted.
for (const chosen of document.querySelectorAll("input[data-into]")) {
  chosen.closest("[hidden]").hidden = false;
  chosen.addEventListener("change", async () => {
    if (chosen.files.length) document.getElementById(chosen.dataset.into).value = await chosen.files[0].text();
  });
}

// Arrow keys change a list at each press: whoever goes through it by them stays on it as the page changes.
const at = sessionStorage.getItem("at");
sessionStorage.removeItem("at");
if (at) document.querySelector(`[data-whole][name="${CSS.escape(at)}"]`)?.focus();

async function refresh(form, signal) {
  const fields = new URLSearchParams(new FormData(form));
  const asks = form.method === "get";
  const places = form.dataset.live.split(" ");
  for (const id of places) document.getElementById(id).setAttribute("aria-busy", "true");
  const address = asks ? `${form.action}?${fields}` : form.action;
  try {
    const answer = await fetch(address, asks ? { signal } : { method: "post", body: fields, signal });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (answer.redirected) {
      location.assign(answer.url);
      return;
    }
    if (!answer.ok || places.some((id) => !page.getElementById(id))) {
      throw new Error(`${address}: ${answer.status}`);
    }
    for (const id of places) document.getElementById(id).replaceWith(page.getElementById(id));
    if (asks) history.replaceState(null, "", address);
    trouble.hidden = true;
  } catch (error) {
    if (error.name === "AbortError") return; // The next one is on its way.
    for (const id of places) document.getElementById(id).removeAttribute("aria-busy");
    trouble.hidden = false;
  }
}
