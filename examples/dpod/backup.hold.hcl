# The example of IBM DPOD's documentation: a secure backup of the devices QA*, and an export of the domains DOMAIN* of TEST8
# and of TEST9, which is not available. Both quiesce what they take. The appliances are SIMULATED by appliance.sh, a
# directory each; make them with demo.sh, which runs all of this.

settings {
  environment     = "dpod-example"
  backups_enabled = true # false: all of them wait, whatever is due
}

variable "root" {
  type        = string
  description = "Directory that holds the program appliance, the simulated appliances and the store."
}

variable "mounted" {
  type        = bool
  default     = true
  description = "Whether the store must be a mounted network file system. demo.sh, which has none, says false."
}

locals {
  announce  = "${var.root}/announce"
  appliance = "${var.root}/appliance"
}

store "plain" "nas" {
  path = "${var.root}/store"

  # Checked before a backup plan starts and before each task; below this space nothing is written.
  mount {
    required = var.mounted
    remote   = var.mounted
  }
  free_space {
    min_bytes  = "64MiB"
    min_inodes = 100
  }
}

maintenance_window "night" {
  start = "22:00"
  end   = "06:00"
}

backup_plan "qa" {
  schedule           = "0 23 * * *"
  maintenance_window = maintenance_window.night
  store              = store.nas

  # Scripts here, outside of the activities, would run once before the first and after the last task; see
  # windows-and-scripts. Those of an activity run around each of its tasks.
  activity "secure" {
    action  = "secure_backup"
    devices = ["appliance[\"QA*\"]"]
    quiesce { timeout = "120s" } # and three minutes, then the task is given up and the device taken back
    pre_script { command = [local.announce, "{device}", "begins"] }
    post_script { command = [local.announce, "{device}", "ends:", "{status}"] }
  }
  activity "domains" {
    action  = "export_domain"
    devices = ["appliance[\"TEST8\"]", "appliance[\"TEST9\"]"]
    domains = ["DOMAIN*"]
    quiesce {}
  }
}

# ---- the simulated appliances -----------------------------------------------

# One block for all of them. Each is a device of its own: device.appliance["QA1"] and so on.
device "command" "appliance" {
  for_each = {
    QA1   = { min_free = "100MB" } # on the appliance, which puts a secure backup together before it is fetched
    QA2   = { min_free = "100MB" }
    QA3   = { min_free = "100MB" }
    TEST8 = { min_free = null }
    TEST9 = { min_free = null }
  }
  command         = [local.appliance, "${var.root}/${each.key}", "backup", "{domain}"]
  command_unsaved = [local.appliance, "${var.root}/${each.key}", "backup-unsaved", "{domain}"]
  inspect         = [local.appliance, "${var.root}/${each.key}", "inspect"]
  state           = [local.appliance, "${var.root}/${each.key}", "state", "{domain}"]
  quiesce         = [local.appliance, "${var.root}/${each.key}", "quiesce", "{domain}", "{timeout}"]
  unquiesce       = [local.appliance, "${var.root}/${each.key}", "unquiesce", "{domain}"]
  unsaved         = [local.appliance, "${var.root}/${each.key}", "unsaved", "{domain}"]
  free_space      = [local.appliance, "${var.root}/${each.key}", "free-space"]
  min_free        = each.value.min_free
  extension       = ".cfg"
  compress        = false
}
