# What a year of changes looks like. Blocks of these two kinds can be taken away
# again as soon as every state was brought up to date with them.

variable "root" {
  type    = string
  default = "/srv"
}

# It was called "web". Runs, artifacts and due times go on under the new name.
device "files" "shop" {
  root "content" { path = "${var.root}/www" }
}
moved {
  from = device.web
  to   = device.shop
}

# One backup plan, backup_plan.nightly, became one for each country. Its history
# goes on as the German one.
backup_plan "shop" {
  for_each = toset(["de", "fr"])
  schedule = "0 23 * * *"
  store    = store.vault
  activity "shop" {
    action  = "export_domain"
    devices = ["shop"]
  }
}
moved {
  from = backup_plan.nightly
  to   = backup_plan.shop["de"]
}

store "plain" "vault" { path = "${var.root}/vault" }

# The old store is no longer used: holdfast forgets it, what is in it stays. Its
# block alone could not be taken away, since stores are protected.
removed {
  from = store.usb
  data = "keep"
}
