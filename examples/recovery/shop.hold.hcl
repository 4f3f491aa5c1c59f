# A web site and a database whose backups must still be there, and readable, on the day they are needed: compressed,
# encrypted, read back all the time. demo.sh breaks what can break and puts it right again.

settings {
  environment = "recovery-example"
}

variable "root" {
  type        = string
  description = "Directory of the sample: the site, the database, the private key and the store."
}

variable "recipient" {
  type        = string
  description = "Public key that backups are encrypted for; age-keygen makes one with its private key."
}

# The private key. Backups and their verification do not need it: only restores do. Keep a copy of it away from this machine
# and from the store; without it nobody can read the backups.
secret "key" { file = "${var.root}/key.txt" }

device "files" "web" {
  root "content" { path = "${var.root}/www" }
}

device "sqlite" "orders" {
  path = "${var.root}/orders.db"
}

store "plain" "vault" {
  path     = "${var.root}/vault"
  compress = "zstd"
  encrypt { recipients = [var.recipient] }
  decrypt { identity = secret.key }

  # No artifact stays unread for longer. Each is due when two thirds have passed, and apply reads a share of what is due.
  # Three days make a short demonstration; thirty are usual.
  verify { within = "3d" }
}

retention "month" {
  keep_daily = 30
}

backup_plan "nightly" {
  schedule  = "0 23 * * *"
  store     = store.vault
  retention = retention.month

  activity "site" {
    action  = "export_domain"
    devices = ["web"]
  }
  activity "database" {
    action  = "export_domain"
    devices = ["orders"]
  }
}
