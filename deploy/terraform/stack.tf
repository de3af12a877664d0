resource "aws_s3_bucket" "code" {
  count = var.bucket == null ? 1 : 0
  # A bucket's prefix has at most 37 characters.
  bucket_prefix = "${substr(lower(var.stack_name), 0, 36)}-"
  force_destroy = true
  tags          = var.tags
}

data "aws_s3_bucket" "yours" {
  count  = var.bucket == null ? 0 : 1
  bucket = var.bucket
}

locals {
  bucket = one(concat(aws_s3_bucket.code[*].bucket, data.aws_s3_bucket.yours[*].bucket))
  host   = one(concat(aws_s3_bucket.code[*].bucket_regional_domain_name, data.aws_s3_bucket.yours[*].bucket_regional_domain_name))
}

resource "aws_s3_object" "code" {
  for_each    = local.keys
  bucket      = local.bucket
  key         = each.value
  source      = "${var.release}/${each.key}"
  source_hash = filesha256("${var.release}/${each.key}")

  # The stack needs the old code until it has the new one, and for a rollback.
  lifecycle {
    create_before_destroy = true
  }
}

# In the bucket, because a template of more than 51,200 bytes cannot be passed with the request.
resource "aws_s3_object" "template" {
  bucket       = local.bucket
  key          = "${var.stack_name}/${sha256(local.template)}.json"
  content      = local.template
  content_type = "application/json"

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_cloudformation_stack" "this" {
  name         = var.stack_name
  template_url = "https://${local.host}/${aws_s3_object.template.key}"
  parameters   = local.parameters
  # The stack creates IAM roles, none of them with a custom name.
  capabilities = ["CAPABILITY_IAM"]
  tags         = var.tags

  depends_on = [aws_s3_object.code]
}
