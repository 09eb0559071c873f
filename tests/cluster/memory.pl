# Perl's IPC::SharedMem, and its own shmread and shmwrite, on a segment of another host; TAP on standard output.
#   perl memory.pl create KEY              makes the segment and a semaphore, and looks at what it made
#   perl memory.pl count KEY PROCESSES N   each adds N times to one counter, which nobody may lose
#   perl memory.pl remove KEY COUNT        finds that count, removes both
# An ordinary script: it knows nothing of DIPC.
use strict;
use warnings;
use Errno;
use IPC::Semaphore;
use IPC::SharedMem;
use IPC::SysV qw(IPC_CREAT IPC_EXCL SEM_UNDO);
use Test::More;

use constant {BYTES => 3 * 4096, TEXT => 4090};  # the text lies across two pages

my ($role, $key, @rest) = @ARGV;

sub memory { IPC::SharedMem->new($key, BYTES, $_[0] // 0) or die "shmget $key: $!\n" }
sub set { IPC::Semaphore->new($key, 1, $_[0] // 0) or die "semget $key: $!\n" }

sub create {
  my $memory = memory(IPC_CREAT | IPC_EXCL | 0600);
  ok(set(IPC_CREAT | IPC_EXCL | 0600)->setval(0, 1), 'a semaphore');
  ok(!defined(IPC::SharedMem->new($key, BYTES, IPC_CREAT | IPC_EXCL | 0600)) && $!{EEXIST}, 'a second is told EEXIST');
  is($memory->read(0, 4), "\0" x 4, 'it is empty');  # not attached: shmread attaches it for that
  ok(shmwrite($memory->id, 'across', TEXT, 8), 'shmwrite');
  is($memory->read(TEXT, 8), "across\0\0", 'is what is read');
  ok($memory->attach, 'attached');
  my $stat = $memory->stat;
  is($stat->segsz, BYTES, 'stat has the size');
  is($stat->nattch, 1, 'and the attachment');
  is($stat->cpid, $$, 'and who made it');
  is($stat->uid, $>, 'with the owner as this host names him');
  ok($memory->write('through', TEXT, 8), 'written where it is attached');
  shmread($memory->id, my $text, TEXT, 8) or die "shmread: $!\n";
  is($text, "through\0", 'is what shmread reads');
  ok($memory->detach, 'detached');
  is($memory->stat->nattch, 0, 'which stat says');
}

sub count {
  my ($processes, $rounds) = @rest;
  for (1 .. $processes) {
    next if fork // die "fork: $!\n";
    my ($memory, $set) = (memory(), set());
    $memory->attach or die "shmat: $!\n";
    for (1 .. $rounds) {
      $set->op(0, -1, SEM_UNDO) or die "semop: $!\n";
      $memory->write(pack('N', 1 + unpack 'N', $memory->read(0, 4)), 0, 4) or die "write: $!\n";
      $set->op(0, 1, SEM_UNDO) or die "semop: $!\n";
    }
    require POSIX;
    POSIX::_exit(0);
  }
  for (1 .. $processes) {
    wait;
    is($?, 0, 'each ends well');
  }
}

sub remove {
  my ($memory, $set) = (memory(), set());
  is(unpack('N', $memory->read(0, 4)), $rest[0], 'nothing is lost');
  is($memory->read(TEXT, 8), "through\0", 'and nothing else has changed');
  ok($memory->remove && $set->remove, 'both are removed');
  ok(!defined(IPC::SharedMem->new($key, BYTES, 0)) && $!{ENOENT}, 'the key is free');
}

my %roles = (create => \&create, count => \&count, remove => \&remove);
($roles{$role // ''} // die "see the head of $0\n")->();
done_testing();
