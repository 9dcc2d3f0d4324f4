#!/bin/sh
# The stack of template.yaml by change sets: `aws`, the command line of AWS, and `jq` are on the worker. It runs in the folder of the definition, in
# a checkout that is gone afterwards. STACK names the stack; CAPABILITIES what its template must be allowed, such as CAPABILITY_IAM.
set -eu
umask 077

name="slipway-$SLIPWAY_DEPLOYMENT"

complain() {
  echo "$1" >&2
  exit 1
}

# Status of the stack, `none` where there is none. That it could not be found out is no `none`.
status() {
  if aws cloudformation describe-stacks --stack-name "$STACK" --query 'Stacks[0].StackStatus' --output text 2> problem.txt; then
    return
  fi
  grep -q 'does not exist' problem.txt || { cat problem.txt >&2; return 1; }
  echo none
}

# Waits until nobody changes the stack, which a stack that only has a change set does not count as; then `now` is its status. The time is Slipway's.
rest() {
  while now=$(status); do
    case $now in
      REVIEW_IN_PROGRESS) return ;;
      *_IN_PROGRESS) sleep 2 ;;
      *) return ;;
    esac
  done
  return 1
}

# Id of the last event: every change of the stack makes another one. More than the first page is never asked for: the newest come first.
last_event() {
  aws cloudformation describe-stack-events --stack-name "$STACK" --no-paginate --query 'StackEvents[0].EventId' --output text
}

change_sets() {
  aws cloudformation list-change-sets --stack-name "$STACK" --query "Summaries[?StackName=='$STACK'$1].ChangeSetId || ''" --output text
}

# Removes the change set of this deployment, and with the last one a stack that is nothing yet.
forget() {
  [ "$now" != none ] || return 0
  for id in $(change_sets " && ChangeSetName=='$name'"); do
    aws cloudformation delete-change-set --change-set-name "$id"
  done
  if [ "$now" = REVIEW_IN_PROGRESS ] && [ -z "$(change_sets '')" ]; then
    aws cloudformation delete-stack --stack-name "$STACK"
    now=none
  fi
}

# Fills described.json and `made`, once CloudFormation has made the change set or has given up.
describe() {
  while aws cloudformation describe-change-set --change-set-name "$1" > described.json 2> problem.txt; do
    made=$(jq -r '.Status' described.json)
    case $made in
      CREATE_PENDING | CREATE_IN_PROGRESS) sleep 2 ;;
      *) return ;;
    esac
  done
  return 1
}

case "$1" in
  state)
    rest
    case $now in
      # Who only asks what would be made has made nothing.
      none | REVIEW_IN_PROGRESS) echo none ;;
      *) last_event ;;
    esac
    ;;

  plan)
    rest
    # Of an attempt that died, or of a plan that is asked for anew.
    forget
    case $now in
      none | REVIEW_IN_PROGRESS) kind=CREATE ;;
      *) kind=UPDATE ;;
    esac
    # Passwords are among them: they reach the command line as a file. Declare them `NoEcho` in the template.
    jq '[to_entries[] | { ParameterKey: .key, ParameterValue: (.value | tostring) }]' "$SLIPWAY_VARIABLES" > parameters.json
    if ! aws cloudformation create-change-set --stack-name "$STACK" --change-set-name "$name" --change-set-type "$kind" \
      --template-body file://template.yaml --parameters file://parameters.json \
      ${CAPABILITIES:+--capabilities $CAPABILITIES} --query Id --output text > id.txt 2> problem.txt; then
      grep -q 'No updates are to be performed' problem.txt || complain "$(cat problem.txt)"
      echo "nothing to change since $(last_event)" > "$SLIPWAY_PLAN"
      echo '[]' > "$SLIPWAY_CHANGES"
      exit
    fi
    id=$(cat id.txt)
    printf '%s' "$id" > "$SLIPWAY_PLAN"
    describe "$id" || complain "$(cat problem.txt)"
    why=$(jq -r '.StatusReason // "it gave no reason"' described.json)
    case "$made $why" in
      CREATE_COMPLETE*)
        # Where no resource changes, the stack does: its outputs or its tags.
        jq --arg stack "$STACK" '[.Changes[]?.ResourceChange | {
          address: .LogicalResourceId,
          action: (if .Action == "Add" or .Action == "Import" then "create" elif .Action == "Remove" then "destroy"
                   elif .Replacement == "True" or .Replacement == "Conditional" then "replace" else "update" end)
        }] | if . == [] then [{ address: $stack, action: "update" }] else . end' described.json > "$SLIPWAY_CHANGES"
        ;;
      # CloudFormation makes no change set where nothing changes: it fails, and this is how it says so.
      "FAILED The submitted information didn't contain changes"* | 'FAILED No updates are to be performed'*)
        forget
        echo '[]' > "$SLIPWAY_CHANGES"
        ;;
      *)
        rest
        forget
        complain "the change set of $STACK is $made: $why"
        ;;
    esac
    ;;

  apply)
    id=$(cat "$SLIPWAY_PLAN")
    if ! describe "$id"; then
      # Another one was executed since, which removes all others; or somebody has removed it.
      grep -Eq 'ChangeSetNotFound|does not exist' problem.txt && exit 3
      complain "$(cat problem.txt)"
    fi
    [ "$(jq -r .ExecutionStatus described.json)" = AVAILABLE ] || exit 3
    before=$(last_event)
    if ! aws cloudformation execute-change-set --change-set-name "$id" 2> problem.txt; then
      grep -Eq 'ChangeSetNotFound|InvalidChangeSetStatus' problem.txt && exit 3
      complain "$(cat problem.txt)"
    fi
    # It answers before it has begun: until then the status is the old one.
    while [ "$(last_event)" = "$before" ]; do sleep 1; done
    rest
    case $now in
      CREATE_COMPLETE | UPDATE_COMPLETE | IMPORT_COMPLETE) ;;
      *)
        # What went wrong first, of what this has made happen; CloudFormation has taken the stack back by itself.
        why=$(aws cloudformation describe-stack-events --stack-name "$STACK" --no-paginate --output json | jq -r --arg before "$before" '
          [.StackEvents[] | .EventId] as $ids | .StackEvents[:($ids | index($before) // length)]
          | [.[] | select(.ResourceStatus | endswith("_FAILED")) | "\(.LogicalResourceId): \(.ResourceStatusReason // .ResourceStatus)"][-1] // "it gave no reason"')
        complain "the stack $STACK is $now: $why"
        ;;
    esac
    ;;

  discard)
    now=$(status)
    forget
    ;;

  *) complain "change-set.sh does not know what $1 is" ;;
esac
