store "plain" "nas" {
  path = "${var.root}/backup"
  mount { required = true } # never write below a mount point that is empty
  free_space { min_percent = 10 }
}

backup_plan "shop" {
  for_each           = local.shops
  description        = "Everything a shop needs to be rebuilt."
  schedule           = "30 22 * * 1-5" # exactly once per night, also when clocks change
  timezone           = each.value.zone
  maintenance_window = maintenance_window.night[each.key]
  store              = store.nas
  retention          = retention.standard
  on_error           = "continue"
  missed             = "run_once"

  # Once, before the first task. A failure stops the backup plan, exit code 75
  # skips it. A script that is cut off is never run twice unless it says that
  # it may be. Words in braces are filled in; a value is always one argument.
  # The window and the store (mounted, the right one, with room) are checked
  # first: when they are not as they must be, no script runs.
  pre_script {
    command     = ["${var.root}/bin/announce", "begin", "{backup_plan}", "{run}"]
    timeout     = "30s"
    restartable = true
  }
  # Once, after the last task, whatever happened.
  post_script { command = ["${var.root}/bin/announce", "end", "{backup_plan}", "{status}"] }

  activity "content" {
    action  = "export_domain"
    labels  = { shop = each.key }
    domains = ["content", "up*"]
    post_script {
      command = ["${var.root}/bin/page-someone", "{task}", "{device}", "{domain}"]
      on      = ["failure"]
    }
  }
}

# No schedule: it runs only by hand, with holdfast run backup_plan.before-change
backup_plan "before-change" {
  store = store.nas
  activity "everything" {
    action  = "secure_backup"
    devices = ["*"]
    exclude = ["archive"]
  }
}
