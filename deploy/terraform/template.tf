# The template of the release, with the functions' code in the bucket.

locals {
  # The template's own default, or what the release has.
  available    = fileexists("${var.release}/template.packaged-arm64.json") ? "arm64" : "x86_64"
  architecture = coalesce(var.architecture, local.available)
  packaged     = jsondecode(file("${var.release}/template.packaged-${local.architecture}.json"))

  # The zip of each function, by the function's logical id. Several functions may have the same program.
  zips = {
    for id, resource in local.packaged.Resources : id => resource.Properties.Code if resource.Type == "AWS::Lambda::Function"
  }
  # The key of each zip, which changes with the content: CloudFormation does not look into an object whose key is the same.
  keys = {
    for zip in toset(values(local.zips)) : zip => "${var.stack_name}/${filesha256("${var.release}/${zip}")}/${zip}"
  }

  with_code = {
    for id, zip in local.zips : id => merge(local.packaged.Resources[id], {
      Properties = merge(local.packaged.Resources[id].Properties, {
        Code = { S3Bucket = local.bucket, S3Key = local.keys[zip] }
      })
    })
  }
  template = jsonencode(merge(local.packaged, { Resources = merge(local.packaged.Resources, local.with_code) }))
}
