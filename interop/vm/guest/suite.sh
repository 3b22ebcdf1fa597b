# Mounts $UNC with $OPTS and runs $TESTS (all by default): one line a test, the last line counts them.
. /guest/lib.sh
M=/mnt
pass=0 fail=0 skip=0
# Linux 6.1's client encrypts its buffer of zeros in place, so fallocate into a hole on a `seal` mount writes ciphertext.
case "$(uname -r) $OPTS" in 6.1.*seal*) FX=-P;; esac

t_basic() { fsops basic $D; }
t_names() { fsops names $D; }
t_bigdir() { fsops bigdir $D; }
t_statfs() { fsops statfs $D; }
t_times() { fsops times $D; }
t_chmod() { fsops chmod $D; }
t_append() { fsops append $D; }
t_trunc() { fsops trunc $D; }
t_openunlink() { fsops openunlink $D; }
t_openrename() { fsops openrename $D; }
t_hardlink() { fsops hardlink $D; }
t_symlink() { fsops symlink $D; }
t_special() { fsops special $D; }
t_xattr() { fsops xattr $D; }
t_acl() { fsops acl $D; }
t_sparse() { fsops sparse $D; }
t_seekhole() { fsops seekhole $D; }
t_fallocate() { fsops fallocate $D; }
t_copyrange() { fsops copyrange $D; }
t_clone() { fsops clone $D; }
t_fcntl() { fsops fcntl $D; }
t_flock() { fsops flock $D; }
t_ofd() { fsops ofd $D; }
t_mmap() { fsops mmap $D; }
t_direct() { fsops direct $D; }
t_bigio() { fsops bigio $D; }
t_inotify() { fsops inotify $D; }
t_notify() { fsops notify $D; }
t_many() { fsops many $D; }
t_copytree() {      # a tree of files out and back
    mkdir /tmp/tree && (cd /tmp/tree && for d in a b c; do mkdir $d && for f in 1 2 3 4 5; do dd if=/dev/urandom of=$d/$f bs=1k count=$((f * 37)) 2>/dev/null; done; done)
    cp -a /tmp/tree $D/ && sync && echo 3 >/proc/sys/vm/drop_caches && diff -r /tmp/tree $D/tree && mv $D/tree $D/tree2 && rm -r $D/tree2 && rm -r /tmp/tree
}
t_fsx() { fsxl $FX -n ${OPS:-1500} -l 1048576 -s ${SEED:-1} $D/fsx; }
t_fsxdirect() { fsxl $FX -n ${OPS:-600} -l 1048576 -s ${SEED:-2} -d $D/fsxd; }
t_fsxpar() {        # three at once
    for i in 1 2 3; do fsxl $FX -n $((${OPS:-900} / 3)) -l 524288 -s 10$i $D/fsxp$i >/tmp/fsxp$i 2>&1 & p="$p $!"; done
    r=0; for i in $p; do wait $i || r=1; done; cat /tmp/fsxp1 /tmp/fsxp2 /tmp/fsxp3; return $r
}
t_nsstress() { nsstress -p 4 -n $((${OPS:-800} / 4)) $D/ns; }
t_twomounts() {     # a second mount of the same share, with a session of its own: each sees the other's changes
    smbmount "$UNC" /mnt2 "$OPTS,nosharesock" || return 1
    E=/mnt2/${D#$M/}; r=0
    echo one >$D/tm && [ "$(cat $E/tm)" = one ] || r=1
    echo two >>$E/tm
    x=; for i in 1 2 3 4; do x=$(tr '\n' , <$D/tm); [ "$x" = one,two, ] && break; sleep 0.5; done     # attributes are cached for 1 s
    [ "$x" = one,two, ] || { echo "the first mount reads: $x"; r=1; }
    rm $E/tm || r=1
    x=0; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do x=0; ls $D/tm >/dev/null 2>&1 || break; x=1; sleep 0.5; done
    [ $x = 0 ] || { echo "the first mount still sees the removed file"; r=1; }
    umount /mnt2; return $r
}
t_remount() { echo kept >$D/rm && sync && umount $M && smbmount "$UNC" $M "$OPTS" && [ "$(cat $D/rm)" = kept ] && rm $D/rm; }

want=${TESTS:-$(sed -n 's/^t_\([a-z0-9]*\)().*/\1/p' /guest/suite.sh)}
t0=$(now_ms)
if ! smbmount "$UNC" $M "$OPTS"; then
    dmesg | tail -20
    echo "not ok mount ($OPTS)"; echo "0 passed, 1 failed"; exit 1
fi
echo "# mounted in $(($(now_ms) - t0)) ms: $(grep " $M " /proc/mounts)"
D=$M/guest.$NONCE
mkdir $D || { echo "not ok mkdir"; echo "0 passed, 1 failed"; exit 1; }
for t in $want; do
    t0=$(now_ms)
    if out=$(t_$t 2>&1); then r=0; else r=$?; fi
    ms=$(($(now_ms) - t0))
    one=$(echo "$out" | tail -1)
    case $r in
    0) pass=$((pass + 1)); echo "ok $t ${ms} ms${one:+ - $one}";;
    2) skip=$((skip + 1)); echo "skip $t ${ms} ms - $one";;
    *) case " $XFAIL " in
       *" $t "*) skip=$((skip + 1)); echo "xfail $t ${ms} ms - $one";;
       *) fail=$((fail + 1)); echo "not ok $t ${ms} ms (status $r)"; echo "$out" | sed 's/^/    /' | tail -${LINES_SHOWN:-25};;
       esac;;
    esac
done
cd /; rm -rf $D 2>/dev/null; [ -e $D ] && echo "# $D could not be removed"
umount $M || { fail=$((fail + 1)); echo "not ok umount"; }
dmesg | grep -E 'CIFS: VFS' | sort | uniq -c | sort -rn | sed 's/^/# dmesg: /' | head -${DMESG:-8}
echo "$pass passed, $fail failed, $skip skipped"
[ $fail = 0 ]
