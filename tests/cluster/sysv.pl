# Perl's IPC::SysV on objects of another host, as the TAP of Test::More on standard output.
#   perl sysv.pl create KEY        makes a queue and a semaphore set, and looks at what it made
#   perl sysv.pl serve KEY         answers requests until it is told to stop; runs with or without DIPC
#   perl sysv.pl ask KEY N ROUNDS  N processes ask the server, and count in the set
#   perl sysv.pl wait KEY          what waits: interrupted, counted, undone
#   perl sysv.pl remove KEY        tells the server to stop, removes both
# An ordinary script: it knows nothing of DIPC.
use strict;
use warnings;
use Errno;
use IPC::Msg;
use IPC::Semaphore;
use IPC::SysV qw(IPC_CREAT IPC_EXCL IPC_NOWAIT SEM_UNDO);
use Test::More;
use Time::HiRes qw(setitimer ITIMER_REAL);

use constant {REQUEST => 1, FIRST_REPLY => 1000};  # types of messages
use constant {MUTEX => 0, COUNT => 1, GATE => 2};  # semaphores

my ($role, $key, @rest) = @ARGV;

sub queue { IPC::Msg->new($key, $_[0] // 0) or die "msgget $key: $!\n" }
sub set { IPC::Semaphore->new($key, 3, $_[0] // 0) or die "semget $key: $!\n" }

# Runs code in a child, whose exit status is 0 if it returns true.
sub child {
  my ($code) = @_;
  my $pid = fork // die "fork: $!\n";
  return $pid if $pid;
  my $good = eval { $code->() };
  print STDERR $@ if $@;
  require POSIX;
  POSIX::_exit($good ? 0 : 1);
}

sub ended_well { waitpid($_[0], 0); $? == 0 }

sub create {
  my $queue = queue(IPC_CREAT | IPC_EXCL | 0600);
  my $set = set(IPC_CREAT | IPC_EXCL | 0600);
  ok(!defined(IPC::Msg->new($key, IPC_CREAT | IPC_EXCL | 0600)) && $!{EEXIST}, 'a second msgget is told EEXIST');
  ok(!defined(IPC::Semaphore->new($key, 3, IPC_CREAT | IPC_EXCL | 0600)) && $!{EEXIST}, 'and a second semget');
  ok(!defined(IPC::Semaphore->new($key, 4, 0)) && $!{EINVAL}, 'there are no four semaphores');
  ok($queue->snd(7, 'seven') && $queue->snd(3, 'three'), 'messages are sent');
  my $stat = $queue->stat;
  is($stat->qnum, 2, 'stat counts them');
  is($stat->uid, $>, 'stat names the owner as this host does');
  is($stat->mode & 0777, 0600, 'stat has the mode');
  is($stat->lspid, $$, 'stat has the sender');
  cmp_ok(abs($stat->stime - time), '<', 3600, 'stat has a time');
  ok($queue->set(mode => 0640, qbytes => 4096), 'mode and size are set');
  is($queue->stat->mode & 0777, 0640, 'the mode is what was set');
  is($queue->stat->qbytes, 4096, 'so is the size');
  my $text;
  is($queue->rcv($text, 64, -5), 3, 'the lowest type up to five comes first');
  is($text, 'three', 'with its text');
  ok(!defined($queue->rcv($text, 2, 7)) && $!{E2BIG}, 'a text that does not fit stays');
  is($queue->rcv($text, 64, 7), 7, 'and comes when there is room');
  ok(!defined($queue->rcv($text, 64, 0, IPC_NOWAIT)) && $!{ENOMSG}, 'then the queue is empty');
  ok($set->setall(1, 0, 0), 'all values are set');
  is_deeply([$set->getall], [1, 0, 0], 'all values are read');
  ok($set->setval(GATE, 5), 'one value is set');
  is($set->getval(GATE), 5, 'one value is read');
  ok($set->op(GATE, -5, 0), 'an operation');
  is($set->getpid(GATE), $$, 'whose pid is known');
  is($set->stat->nsems, 3, 'stat of the set');
  is($set->stat->cuid, $>, 'which names its creator');
}

sub serve {
  my $queue = queue();
  my ($text, $served) = ('', 0);
  while (defined $queue->rcv($text, 1024, REQUEST)) {
    last if $text eq 'stop';
    my ($reply, $words) = unpack 'N a*', $text;
    $queue->snd($reply, uc $words) or die "msgsnd: $!\n";
    ++$served;
  }
  cmp_ok($served, '>', 0, "$served requests were answered");
}

sub ask {
  my ($processes, $rounds) = @rest;
  my ($queue, $set) = (queue(), set());
  my @children = map {
    my $number = $_;
    child(sub {
      my $type = FIRST_REPLY + $number;
      for my $round (1 .. $rounds) {
        my $words = "from $number in round $round " . 'x' x $round;
        $queue->snd(REQUEST, pack('N a*', $type, $words)) or die "msgsnd: $!\n";
        my $got = $queue->rcv(my $text, 1024, $type) // die "msgrcv: $!\n";
        $got == $type && $text eq uc $words or die "$number got type $got, '$text'\n";
        # Two steps that others would come between if the mutex were none.
        $set->op(MUTEX, -1, SEM_UNDO) or die "semop: $!\n";
        my $value = $set->getval(COUNT) // die "GETVAL: $!\n";
        $set->setval(COUNT, $value + 1) or die "SETVAL: $!\n";
        $set->op(MUTEX, 1, SEM_UNDO) or die "semop: $!\n";
      }
      return 1;
    })
  } 1 .. $processes;
  ok(ended_well($_), 'each gets the answers to its own requests') for @children;
  is($set->getval(COUNT), $processes * $rounds, 'and nobody came between');
}

sub waits {
  my ($queue, $set) = (queue(), set());
  {
    local $SIG{ALRM} = sub { };
    setitimer(ITIMER_REAL, 0.1, 0.1);  # again and again: the first may come before the receive waits
    ok(!defined($queue->rcv(my $text, 64, 5)) && $!{EINTR}, 'a handler that runs ends a receive that waits');
    setitimer(ITIMER_REAL, 0);
  }
  my $waiter = child(sub { set()->op(GATE, -1, 0) });
  my $until = time + 30;
  select undef, undef, undef, 0.01 until $set->getncnt(GATE) || time > $until;
  is($set->getncnt(GATE), 1, 'a child that waits is counted');
  ok($set->op(GATE, 1, 0) && ended_well($waiter), 'and woken');

  pipe my $held, my $say or die "pipe: $!\n";
  my $holder = child(sub {
    set()->op(MUTEX, -1, SEM_UNDO) or die "semop: $!\n";
    syswrite $say, "held\n";
    sleep 60;
  });
  close $say;
  is(scalar(<$held>), "held\n", 'a child has the mutex');
  ok(!$set->op(MUTEX, -1, SEM_UNDO | IPC_NOWAIT) && $!{EAGAIN}, 'so it is not to be had');
  kill 'KILL', $holder;
  ok($set->op(MUTEX, -1, SEM_UNDO), 'until the child is killed');
  ok($set->op(MUTEX, 1, SEM_UNDO), 'and given back');
  waitpid $holder, 0;
}

sub remove {
  my ($queue, $set) = (queue(), set());
  ok($queue->snd(REQUEST, 'stop'), 'the server is told');
  my $until = time + 30;
  select undef, undef, undef, 0.01 until !$queue->stat->qnum || time > $until;
  ok($queue->remove && $set->remove, 'both are removed');
  ok(!defined($queue->rcv(my $text, 64, 0)) && $!{EINVAL}, 'a queue that is gone');
  ok(!defined($set->getval(MUTEX)) && $!{EINVAL}, 'a set that is gone');
  ok(!defined(IPC::Msg->new($key, 0)) && $!{ENOENT}, 'the key is free');
}

my %roles = (create => \&create, serve => \&serve, ask => \&ask, wait => \&waits, remove => \&remove);
($roles{$role // ''} // die "see the head of $0\n")->();
done_testing();
