# Helpers for scripts that run in the guest:  . /guest/lib.sh

# smbmount UNC DIR OPTIONS: mount.cifs with $SMBUSER, $SMBPASS and $PORT
smbmount() {
    mkdir -p "$2"
    PASSWD="$SMBPASS" mount.cifs "$1" "$2" -o "username=$SMBUSER,port=$PORT${3:+,$3}"
}

now_ms() { awk '{printf "%d\n", $1 * 1000}' /proc/uptime; }
