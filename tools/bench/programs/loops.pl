# Perl loops of the benchmark guest: hashes, regular expressions, sorting, strings, floats.
# Prints one line that is the same everywhere.
use strict;
use integer;

my ($state, %seen, @words) = (42);
for (1 .. 60000) {
    $state = ($state * 1103515245 + 12345) & 0x7fffffff;
    push @words, 'k' . $state % 4999;
    $seen{$words[-1]}++;
}
my @top = (sort { $seen{$b} <=> $seen{$a} || $a cmp $b } keys %seen)[0 .. 2];

my $text = join ' ', @words;
my $found = 0;
$found += length $1 while $text =~ /\b(k\d*7\d?)\b/g;
(my $changed = $text) =~ s/k(\d+)(\d)/$2$1/g;

no integer;
my $sum = 0;
$sum += sin($_) * sqrt($_) / ($_ % 7 + 1) for 1 .. 200000;

my ($low, $high) = (0, 1);
($low, $high) = ($high, ($low + $high) % 1000003) for 1 .. 200000;

printf "%s %d %d %.6f %d\n", "@top", $found, unpack('%32C*', $changed), $sum, $low;
