#!/usr/bin/env bash
# A Slurm cluster of one node for the tests: Debian's slurmctld and slurmd on this machine, with all that they keep in the
# target directory, beside whatever Slurm is here already. To be run as root.
#   eval "$(tests/slurm/cluster.sh start)"     installs what is missing, starts, waits until the node takes jobs
#   tests/slurm/cluster.sh restart-controller  kills the controller (SIGKILL) and starts it again
#   tests/slurm/cluster.sh stop                ends all of it
# There is no accounting, as on many small clusters. The node is said to have more processors than it may have, so that
# elements of arrays run side by side.
set -euo pipefail
cd "$(dirname "$0")/../.."
home=${CARGO_TARGET_DIR:-$PWD/target}/slurm
export SLURM_CONF=$home/slurm.conf

fail() { echo "cluster.sh: $*" >&2; exit 1; }

install() {
  command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v sbatch >/dev/null && return
  [ "$(id -u)" = 0 ] || fail "slurmctld, slurmd and slurm-client are not all installed, and only root can install them"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq slurmctld slurmd slurm-client munge; } \
    >"$home/install.log" 2>&1 || fail "the packages of Slurm could not be installed: see $home/install.log"
}

configure() {
  # cred_expire: a job that was queued again may start after so many seconds; by default after two minutes.
  cat >"$SLURM_CONF" <<END
ClusterName=s2pipe-tests
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthInfo=cred_expire=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=0,sched_interval=1,bf_interval=1,batch_sched_delay=0
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
SlurmdSpoolDir=$home/spool
StateSaveLocation=$home/state
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
MailProg=/bin/true
ReturnToService=2
MaxArraySize=101
KillWait=5
MinJobAge=600
GresTypes=gpu
NodeName=node1 NodeHostname=$(hostname) NodeAddr=127.0.0.1 CPUs=8 RealMemory=4000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=node1 Default=YES MaxTime=INFINITE State=UP
END
  printf "NodeName=node1 Name=gpu File=/dev/%s\n" null zero >"$home/gres.conf"
}

authenticate() {
  munge -n >/dev/null 2>&1 && return
  mkdir -p /run/munge && chown munge: /run/munge
  su -s /bin/sh munge -c /usr/sbin/munged || fail "munged does not start: see /var/log/munge/munged.log"
}

alive() { [ -e "$home/$1.pid" ] && kill -0 "$(cat "$home/$1.pid")" 2>/dev/null; }

start_one() { alive "$1" || "$@" >/dev/null 2>&1 || fail "$1 does not start: see $home/$1.log"; }

wait_for() {
  local what=$1
  shift
  for _ in $(seq 300); do
    "$@" && return
    sleep 0.2
  done
  fail "$what did not come within a minute: see $home/slurmctld.log and $home/slurmd.log"
}

takes_jobs() { sinfo --noheader --format %T 2>/dev/null | grep -qE '^(idle|mixed|allocated)$'; }

is_gone() { ! alive "$1"; }

end_one() {
  alive "$1" || return 0
  kill "-$2" "$(cat "$home/$1.pid")"
  wait_for "the end of $1" is_gone "$1"
}

case "${1:-}" in
start)
  alive slurmctld || rm -rf "$home"/spool "$home"/state "$home"/*.log
  mkdir -p "$home/spool" "$home/state"
  install
  authenticate
  alive slurmctld || configure
  start_one slurmctld
  start_one slurmd -N node1
  wait_for "a node that takes jobs" takes_jobs
  echo "export SLURM_CONF=$SLURM_CONF"
  ;;
restart-controller)
  end_one slurmctld KILL
  start_one slurmctld
  wait_for "a node that takes jobs" takes_jobs
  ;;
stop)
  end_one slurmd TERM
  end_one slurmctld TERM
  ;;
*)
  sed -n 4,6p "$0" >&2
  exit 2
  ;;
esac
