# A small shop at two sites: what must survive, where copies go, and which
# side is active. `make demo` runs all of it on sample data.

settings {
  environment = "quickstart"
  timezone    = "Europe/Berlin"
}

variable "root" {
  type        = string
  description = "Directory that holds the sample data of both sites."
}

site "berlin" { region = "eu-central" }
site "dublin" { region = "eu-west" }

# ---- what to protect --------------------------------------------------------

device "files" "web" {
  site   = site.berlin
  labels = { tier = "1" }
  root "content" { path = "${var.root}/berlin/www" }
}

device "sqlite" "shop" {
  site = site.berlin
  path = "${var.root}/berlin/shop.db"
}

device "command" "inventory" {
  site    = site.berlin
  command = ["${var.root}/bin/inventory", "--export"]
}

# ---- where backups go, and when ---------------------------------------------

store "plain" "vault" {
  site = site.dublin
  path = "${var.root}/dublin/vault"
}

retention "standard" {
  keep_last  = 3
  keep_daily = 14
}

backup_plan "nightly" {
  schedule  = "0 23 * * *"
  store     = store.vault
  retention = retention.standard

  activity "web" {
    action  = "export_domain"
    devices = ["web"]
  }
  activity "databases" {
    action  = "secure_backup"
    devices = ["shop", "inventory"]
    post_script {
      command = ["${var.root}/bin/announce", "backed up"]
      on      = ["success"]
    }
  }
  activity "branch" {
    action  = "export_domain"
    devices = ["branch*"] # none yet: the plan says so
  }
}

# ---- two sides, one active --------------------------------------------------

failover_target "files" "documents" {
  link = "${var.root}/current"
  member "berlin" {
    site = site.berlin
    path = "${var.root}/berlin/documents"
  }
  member "dublin" {
    site = site.dublin
    path = "${var.root}/dublin/documents"
  }
}

failover "documents" {
  preferred = site.berlin
  standby   = [site.dublin]
  step "switch" { targets = [failover_target.documents] }
}

mirror "documents" {
  source  = failover.documents.active
  target  = failover.documents.standby
  every   = "1h"
  max_lag = "90m"
}
