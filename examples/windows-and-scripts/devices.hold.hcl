# One device for each shop: device.shop["berlin"], device.shop["tokyo"].
device "files" "shop" {
  for_each = local.shops
  labels   = { shop = each.key, tier = each.value.tier }
  root "content" { path = "${var.root}/${each.key}/www" }
  root "uploads" {
    path    = "${var.root}/${each.key}/uploads"
    exclude = ["cache/**", "*.tmp"]
  }
}

# Out of all backups until it is rebuilt: every plan shows it as skipped, with
# the reason.
device "files" "archive" {
  root "content" { path = "${var.root}/archive" }
  exclude {
    until  = "2027-01-31T06:00:00Z"
    reason = "moves to new disks, see change 4711"
  }
}
