# One PostgreSQL server: every night an export of each database, which goes back into any server, and a backup of the whole
# cluster, on which a server starts again. demo.sh runs all of it on a server of its own.

settings {
  environment = "postgresql-example"
}

variable "root" {
  type        = string
  description = "Directory of the sample: the server, its connection string, and the store."
}

# host=... user=... password=..., in a file that only its owner can read. PostgreSQL's programs get the password through a
# file, too: it is in no argument list, no log and no record.
secret "server" { file = "${var.root}/server.dsn" }

device "postgresql" "main" {
  dsn       = secret.server
  databases = ["shop", "ledger"] # all without this line

  # What a restored database must have, too, to count as restored: the rows of every table, and these sums. They are taken
  # in the very snapshot that the export is made of, while others go on writing.
  fingerprint {
    sums = ["shop.public.pgbench_accounts.abalance", "shop.public.pgbench_history.delta", "ledger.public.entries.amount"]
  }
}

store "plain" "vault" {
  path = "${var.root}/vault"
}

retention "two_weeks" {
  keep_daily = 14
}

backup_plan "databases" {
  schedule  = "0 1 * * *"
  store     = store.vault
  retention = retention.two_weeks

  activity "each" {
    action  = "export_domain"
    devices = ["main"]
    domains = ["*"]
  }
}

backup_plan "cluster" {
  schedule  = "0 2 * * *"
  store     = store.vault
  retention = retention.two_weeks

  activity "whole" {
    action  = "secure_backup"
    devices = ["main"]
  }
}
