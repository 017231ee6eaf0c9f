using System.Globalization;
using System.Runtime.InteropServices;

namespace AllocTools.Interop;

/// <summary>The limit on the memory that this process may lock, RLIMIT_MEMLOCK (getrlimit(2)).</summary>
/// <remarks>
/// A process with CAP_IPC_LOCK may lock any amount, but only if the capability is of the initial user namespace: in a
/// namespace of its own it has no effect. A capability that is only in the process's bounding set is not held at all.
/// Therefore the kernel is queried: a mapping one page over the limit is locked with MLOCK_ONFAULT, which uses no
/// memory.
/// </remarks>
internal static unsafe partial class MemoryLockLimit
{
    private const int IpcLock = 14;
    private const int SysAdmin = 21;

    /// <summary>The soft limit in bytes; null if there is none or the system does not report it.</summary>
    public static long? Bytes => ResourceLimits.MemoryLock.Soft;

    /// <summary>Returns the limit in words, such as <c>RLIMIT_MEMLOCK is 8,388,608 bytes</c>.</summary>
    public static string Describe() => Bytes is long bytes
        ? $"RLIMIT_MEMLOCK is {bytes.ToString("N0", CultureInfo.InvariantCulture)} bytes"
        : "RLIMIT_MEMLOCK is unlimited";

    /// <summary>Whether the process is exempt from the limit.</summary>
    public static bool IsExempt
    {
        get
        {
            if (!OperatingSystem.IsLinux() || Bytes is not long bytes)
                return false;
            nuint page = (nuint)Environment.SystemPageSize;
            return SystemPages.TryLockOnFault(((nuint)bytes + page) / page * page + page)
                ?? ProcessRights.Read() is { } rights && rights.HasEffective(IpcLock) && !rights.IsInUserNamespace;
        }
    }

    /// <summary>Describes how to raise or remove the limit for a process like this one.</summary>
    public static string HowToRaise() => HowToRaise(OperatingSystem.IsLinux() ? ProcessRights.Read() : null, ResourceLimits.MemoryLock);

    /// <inheritdoc cref="HowToRaise()"/>
    /// <param name="rights">The rights of the process; null if they are not known.</param>
    /// <param name="limit">The soft and the hard limit in bytes; null for none.</param>
    public static string HowToRaise(ProcessRights? rights, (long? Soft, long? Hard) limit)
    {
        string why = "";
        string kubernetes = "in Kubernetes, which has no setting for it, add the capability IPC_LOCK to a container that runs as root, or set LimitMEMLOCK=infinity for the node's container runtime";
        if (rights is not null && rights.HasEffective(IpcLock))
        {
            why = "The process has CAP_IPC_LOCK, but in a user namespace, where it has no effect: the limit must be raised for the process that creates the namespace. ";
            kubernetes = "in Kubernetes set LimitMEMLOCK=infinity for the node's container runtime";
        }
        else if (rights is not null && rights.HasBounding(IpcLock) && !rights.HasBounding(SysAdmin))
        {
            // A reduced bounding set that contains it shows that it was granted.
            why = $"CAP_IPC_LOCK was granted, but is in the bounding set only, which has no effect for user {rights.UserId}: run as root, or give it to the program's file (setcap cap_ipc_lock+ep)"
                + (rights.NoNewPrivileges ? ", which needs no_new_privs off (allowPrivilegeEscalation: true). " : ". ");
            kubernetes = "in Kubernetes run the container as root, or set LimitMEMLOCK=infinity for the node's container runtime";
        }
        string shell = limit switch
        {
            (_, null) => "`ulimit -l unlimited` in the shell",
            ({ } soft, { } hard) when soft < hard =>
                $"`ulimit -l {hard / 1024}` in the shell as far as the hard limit ({hard.ToString("N0", CultureInfo.InvariantCulture)} bytes), beyond it as root `prlimit --memlock=unlimited --pid PID`",
            _ => "as root `ulimit -l unlimited` in the shell or `prlimit --memlock=unlimited --pid PID`",
        };
        return $"{why}Raise it: {shell}, /etc/security/limits.conf for logins, LimitMEMLOCK=infinity in a systemd unit, `--ulimit memlock=-1` for docker run; {kubernetes}";
    }

    /// <summary>
    /// Returns the limit and how to raise it, if it is the likely cause of an error: out of memory, or locking is not
    /// permitted at all, in a process that the limit applies to. Otherwise empty.
    /// </summary>
    public static string Explain(int error)
    {
        bool likely = error is SystemErrors.NoMemory or SystemErrors.NotPermitted or SystemErrors.Again;
        return likely && Bytes is not null && !IsExempt ? $"{Describe()}, which is the likely cause. {HowToRaise()}." : "";
    }
}
