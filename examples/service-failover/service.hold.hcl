# A service at two sites. Programs of your own tell which side is active and
# move it; a link shows clients the files of the active side; a mirror follows
# the role.

settings {
  environment = "service"
  timezone    = "Europe/Dublin"
}

variable "root" {
  type        = string
  default     = "/srv"
  description = "Where both sites are mounted."
}

site "berlin" { region = "eu-central" }
site "dublin" { region = "eu-west" }

# ---- secrets are references: their values are read when a step needs them, and are never stored or shown -------------

secret "balancer" { file = "/etc/holdfast/balancer.token" } # mode 0600
secret "database" { env = "DATABASE_PASSWORD" }
secret "vault" { exec = ["/usr/local/bin/vault-read", "service/api"] }

# ---- what moves -------------------------------------------------------------------------------------------------------

failover_target "command" "service" {
  status = ["${var.root}/bin/service", "status"] # prints berlin, dublin or none; must change nothing
  switch = ["${var.root}/bin/service", "switch", "--to={to}", "--epoch={epoch}"]

  # Stops writers on the old side before the last copy, and lets them go on if the switchover is given up.
  freeze   = ["${var.root}/bin/service", "freeze", "{from}"]
  unfreeze = ["${var.root}/bin/service", "unfreeze", "{from}"]
  verify   = ["${var.root}/bin/service", "check", "{to}"]
  timeout  = "2m"

  secret_environment = {
    BALANCER_TOKEN = secret.balancer
    API_KEY        = secret.vault
  }
  member "berlin" {
    site        = site.berlin
    environment = { SERVICE_HOST = "service.berlin.example.net" }
  }
  member "dublin" {
    site        = site.dublin
    environment = { SERVICE_HOST = "service.dublin.example.net" }
  }
}

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

maintenance_window "sunday" {
  days  = ["sun"]
  start = "02:00"
  end   = "06:00"
}

# Which side is active is recorded, with an epoch. Preferring the other one in a
# commit plans a switchover: holdfast apply --allow=role
failover "service" {
  preferred          = site.berlin
  standby            = [site.dublin]
  maintenance_window = maintenance_window.sunday
  step "freeze" { targets = [failover_target.service] }
  step "data" { targets = [failover_target.documents] }
  step "route" { targets = [failover_target.service] }
}

mirror "documents" {
  source  = failover.service.active
  target  = failover.service.standby
  every   = "15m"
  max_lag = "1h"
  exclude = ["*.tmp"]
  delete { max_percent = 10 } # a pass that would delete more deletes nothing and fails
}

# ---- and a copy of its data -------------------------------------------------------------------------------------------

device "command" "database" {
  site               = site.berlin
  command            = ["${var.root}/bin/dump-database", "{domain}"]
  domains            = ["orders", "customers"]
  restore_command    = ["${var.root}/bin/load-database", "{dir}"]
  extension          = ".sql"
  min_size           = "1KiB" # a dump that is smaller is no dump
  secret_environment = { PGPASSWORD = secret.database }
}

store "plain" "vault" {
  site = site.dublin
  path = "${var.root}/dublin/vault"
}

backup_plan "database" {
  schedule = "15 * * * *"
  store    = store.vault
  activity "dump" {
    action  = "export_domain"
    devices = ["database"]
  }
}
