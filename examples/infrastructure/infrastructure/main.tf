variable "environment" {
  type = string
}

variable "size" {
  type = string
}

variable "password" {
  type      = string
  sensitive = true
}

# `terraform_data` is built in and needs no provider: put your own resources here. checkov has no policy for it, and says so: the gate
# `infrastructure` is errored until there is something to look at.
resource "terraform_data" "queue" {
  input = {
    name     = "orders-${var.environment}"
    size     = var.size
    password = var.password
  }
}

output "queue" {
  value = "orders-${var.environment}"
}
