# Shops in two countries, backed up at night in their own time zones, with
# announcements around it and a calm Christmas.

settings {
  environment = "shops"
  timezone    = "Europe/Berlin"
  parallel    = 8 # most tasks at one time, over all backup plans
}

# Given with --var, HOLDFAST_VAR_root, or a line in a *.holdvars.hcl file.
variable "root" {
  type        = string
  default     = "/srv"
  description = "Where the shops keep their data."
  validation {
    condition     = can(regex("^/", var.root))
    error_message = "The root must be an absolute path."
  }
}

locals {
  shops = {
    berlin = { zone = "Europe/Berlin", tier = "1" }
    tokyo  = { zone = "Asia/Tokyo", tier = "2" }
  }
}
