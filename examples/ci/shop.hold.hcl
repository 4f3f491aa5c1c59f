# What the workflows beside this file plan for each pull request: any configuration will do.

settings {
  environment = "production"
  timezone    = "Europe/Berlin"
}

device "files" "web" {
  root "content" { path = "/srv/www" }
}

store "plain" "nas" { path = "/data/backup/store" }

retention "standard" { keep_daily = 14 }

backup_plan "nightly" {
  schedule  = "0 23 * * *"
  store     = store.nas
  retention = retention.standard

  activity "web" {
    action  = "export_domain"
    devices = ["web"]
  }
}
