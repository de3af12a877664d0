# What is not a parameter of the template. The parameters are in variables.tf.

variable "release" {
  type        = string
  description = "The folder that ./package makes, or that a release's files were downloaded to."
}

variable "stack_name" {
  type        = string
  default     = "agent-trigger"
  description = "Name of the stack, with which the names of its bus, its schedule group, its log groups and its dashboard begin."

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9-]{0,63}$", var.stack_name))
    error_message = "stack_name must begin with a letter, have letters, digits and hyphens, and at most 64 of them."
  }
}

variable "bucket" {
  type        = string
  default     = null
  description = "Your bucket in the stack's region, for the functions' code and the template. If left out, the module makes one."
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "Tags of the stack, which CloudFormation gives to every resource that takes tags."
}
