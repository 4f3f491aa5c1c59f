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
    devices = ["QA*"]
    quiesce { timeout = "120s" } # and three minutes, then the task is given up and the device taken back
    pre_script { command = [local.announce, "{device}", "begins"] }
    post_script { command = [local.announce, "{device}", "ends:", "{status}"] }
  }
  activity "domains" {
    action  = "export_domain"
    devices = ["TEST8", "TEST9"]
    domains = ["DOMAIN*"]
    quiesce {}
  }
}

# ---- the simulated appliances -----------------------------------------------

device "command" "QA1" {
  command         = [local.appliance, "${var.root}/QA1", "backup", "{domain}"]
  command_unsaved = [local.appliance, "${var.root}/QA1", "backup-unsaved", "{domain}"]
  inspect         = [local.appliance, "${var.root}/QA1", "inspect"]
  state           = [local.appliance, "${var.root}/QA1", "state", "{domain}"]
  quiesce         = [local.appliance, "${var.root}/QA1", "quiesce", "{domain}", "{timeout}"]
  unquiesce       = [local.appliance, "${var.root}/QA1", "unquiesce", "{domain}"]
  unsaved         = [local.appliance, "${var.root}/QA1", "unsaved", "{domain}"]
  free_space      = [local.appliance, "${var.root}/QA1", "free-space"]
  min_free        = "100MB" # on the appliance, which puts the backup together before it is fetched
  extension       = ".cfg"
  compress        = false
}

device "command" "QA2" {
  command         = [local.appliance, "${var.root}/QA2", "backup", "{domain}"]
  command_unsaved = [local.appliance, "${var.root}/QA2", "backup-unsaved", "{domain}"]
  inspect         = [local.appliance, "${var.root}/QA2", "inspect"]
  state           = [local.appliance, "${var.root}/QA2", "state", "{domain}"]
  quiesce         = [local.appliance, "${var.root}/QA2", "quiesce", "{domain}", "{timeout}"]
  unquiesce       = [local.appliance, "${var.root}/QA2", "unquiesce", "{domain}"]
  unsaved         = [local.appliance, "${var.root}/QA2", "unsaved", "{domain}"]
  free_space      = [local.appliance, "${var.root}/QA2", "free-space"]
  min_free        = "100MB" # on the appliance, which puts the backup together before it is fetched
  extension       = ".cfg"
  compress        = false
}

device "command" "QA3" {
  command         = [local.appliance, "${var.root}/QA3", "backup", "{domain}"]
  command_unsaved = [local.appliance, "${var.root}/QA3", "backup-unsaved", "{domain}"]
  inspect         = [local.appliance, "${var.root}/QA3", "inspect"]
  state           = [local.appliance, "${var.root}/QA3", "state", "{domain}"]
  quiesce         = [local.appliance, "${var.root}/QA3", "quiesce", "{domain}", "{timeout}"]
  unquiesce       = [local.appliance, "${var.root}/QA3", "unquiesce", "{domain}"]
  unsaved         = [local.appliance, "${var.root}/QA3", "unsaved", "{domain}"]
  free_space      = [local.appliance, "${var.root}/QA3", "free-space"]
  min_free        = "100MB" # on the appliance, which puts the backup together before it is fetched
  extension       = ".cfg"
  compress        = false
}

device "command" "TEST8" {
  command         = [local.appliance, "${var.root}/TEST8", "backup", "{domain}"]
  command_unsaved = [local.appliance, "${var.root}/TEST8", "backup-unsaved", "{domain}"]
  inspect         = [local.appliance, "${var.root}/TEST8", "inspect"]
  state           = [local.appliance, "${var.root}/TEST8", "state", "{domain}"]
  quiesce         = [local.appliance, "${var.root}/TEST8", "quiesce", "{domain}", "{timeout}"]
  unquiesce       = [local.appliance, "${var.root}/TEST8", "unquiesce", "{domain}"]
  unsaved         = [local.appliance, "${var.root}/TEST8", "unsaved", "{domain}"]
  extension       = ".cfg"
  compress        = false
}

device "command" "TEST9" {
  command         = [local.appliance, "${var.root}/TEST9", "backup", "{domain}"]
  command_unsaved = [local.appliance, "${var.root}/TEST9", "backup-unsaved", "{domain}"]
  inspect         = [local.appliance, "${var.root}/TEST9", "inspect"]
  state           = [local.appliance, "${var.root}/TEST9", "state", "{domain}"]
  quiesce         = [local.appliance, "${var.root}/TEST9", "quiesce", "{domain}", "{timeout}"]
  unquiesce       = [local.appliance, "${var.root}/TEST9", "unquiesce", "{domain}"]
  unsaved         = [local.appliance, "${var.root}/TEST9", "unsaved", "{domain}"]
  extension       = ".cfg"
  compress        = false
}
