# A window for each shop, in its own zone; it crosses midnight and belongs to
# the day it starts on.
maintenance_window "night" {
  for_each = local.shops
  days     = ["mon", "tue", "wed", "thu", "fri"]
  start    = "22:00"
  end      = "05:00"
  timezone = each.value.zone
  at_close = "stop" # what still runs at 05:00 is cancelled
}

# Dates, never cron. Only roles rest: backups go on over Christmas.
freeze "christmas" {
  from       = "2026-12-23"
  to         = "2027-01-02"
  applies_to = ["role"]
  reason     = "nobody moves a site while half the team is away"
}
