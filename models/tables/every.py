"""Every table module, loaded at once: what migrations compare with and tests sweep over."""

import models.tables.access
import models.tables.catalog
import models.tables.console
import models.tables.customer
import models.tables.demand
import models.tables.invoice
import models.tables.ledger
import models.tables.outbox
import models.tables.quote
import models.tables.sandbox
import models.tables.subscription
import models.tables.usage
import models.tables.wallet
import models.tables.webhook
