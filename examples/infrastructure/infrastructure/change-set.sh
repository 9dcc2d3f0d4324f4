#!/bin/sh
# The stack of template.yaml by change sets. `aws` and `jq` are on the worker; it runs in the folder of the definition.
set -eu
case "$1" in
  state)
    # The id of the last event: every change of the stack makes another one.
    aws cloudformation describe-stack-events --stack-name "$STACK" --query 'StackEvents[0].EventId' --output text \
      2> /dev/null || echo none
    ;;
  plan)
    kind=UPDATE
    aws cloudformation describe-stacks --stack-name "$STACK" > /dev/null 2>&1 || kind=CREATE
    jq '[to_entries[] | { ParameterKey: .key, ParameterValue: (.value | tostring) }]' "$SLIPWAY_VARIABLES" > parameters.json
    id=$(aws cloudformation create-change-set --stack-name "$STACK" --change-set-name "slipway-$(date +%s)" \
      --change-set-type "$kind" --template-body file://template.yaml --parameters file://parameters.json \
      --query Id --output text)
    # It waits in vain where nothing changes: then the change set has failed, and says so.
    aws cloudformation wait change-set-create-complete --change-set-name "$id" || true
    aws cloudformation describe-change-set --change-set-name "$id" > described.json
    jq '[.Changes[].ResourceChange | {
      address: .LogicalResourceId,
      action: (if .Action == "Add" then "create" elif .Action == "Remove" then "destroy"
               elif .Replacement == "True" or .Replacement == "Conditional" then "replace" else "update" end)
    }]' described.json > "$SLIPWAY_CHANGES"
    printf '%s' "$id" > "$SLIPWAY_PLAN"
    ;;
  apply)
    id=$(cat "$SLIPWAY_PLAN")
    status=$(aws cloudformation describe-change-set --change-set-name "$id" --query ExecutionStatus --output text)
    # Another change set was executed since: AWS calls this one obsolete, and so does Slipway.
    [ "$status" = AVAILABLE ] || exit 3
    aws cloudformation execute-change-set --change-set-name "$id"
    aws cloudformation wait stack-update-complete --stack-name "$STACK" ||
      aws cloudformation wait stack-create-complete --stack-name "$STACK"
    ;;
esac
