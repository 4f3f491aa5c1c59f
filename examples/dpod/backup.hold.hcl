# The example of IBM DPOD's documentation: a secure backup of the devices QA*, and an export of the domains DOMAIN* of TEST8
# and of TEST9, which is not available. Both quiesce what they take. The appliances are SIMULATED by appliance.sh, a
# directory each; make them with demo.sh, which runs all of this.

settings {
  environment = "dpod-example"
}

variable "root" {
  type        = string
  description = "Directory that holds the program appliance, the simulated appliances and the store."
}

locals {
  appliance = "${var.root}/appliance"
}

store "plain" "nas" {
  path = "${var.root}/store"
}

backup_plan "qa" {
  schedule = "0 23 * * *"
  store    = store.nas

  activity "secure" {
    action  = "secure_backup"
    devices = ["QA*"]
    quiesce { timeout = "120s" }
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
