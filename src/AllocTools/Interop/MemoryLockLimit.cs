using System.Globalization;
using System.Runtime.InteropServices;

namespace AllocTools.Interop;

/// <summary>RLIMIT_MEMLOCK: how much memory this process may lock (getrlimit(2)).</summary>
internal static unsafe partial class MemoryLockLimit
{
    public const string HowToRaise =
        "Raise it: `ulimit -l unlimited` in the shell, /etc/security/limits.conf for logins, LimitMEMLOCK=infinity in a systemd unit, "
        + "`--ulimit memlock=-1` for docker run; in Kubernetes give the container the capability IPC_LOCK";

    /// <summary>The soft limit in bytes, or null where there is none or the system doesn't say.</summary>
    public static long? Bytes
    {
        get
        {
            if (!OperatingSystem.IsLinux() && !OperatingSystem.IsMacOS())
                return null;
            ResourceLimit limit;
            int resource = OperatingSystem.IsMacOS() ? 6 : 8;
            if (getrlimit(resource, &limit) != 0 || limit.Soft >= long.MaxValue)
                return null;
            return (long)limit.Soft;
        }
    }

    /// <summary>The limit in words, such as <c>RLIMIT_MEMLOCK is 8388608 bytes</c>.</summary>
    public static string Describe() => Bytes is long bytes
        ? $"RLIMIT_MEMLOCK is {bytes.ToString(CultureInfo.InvariantCulture)} bytes"
        : "RLIMIT_MEMLOCK is unlimited";

    /// <summary>The limit does not bind a process with CAP_IPC_LOCK, which root has.</summary>
    public static bool IsExempt => OperatingSystem.IsLinux() && HasIpcLockCapability();

    /// <summary>
    /// The limit and how to raise it, where it is the likely cause of an error: out of memory, or nothing permitted at
    /// all, in a process that the limit binds. Else empty.
    /// </summary>
    public static string Explain(int error)
    {
        bool likely = error is SystemErrors.NoMemory or SystemErrors.NotPermitted or SystemErrors.Again;
        return likely && Bytes is not null && !IsExempt ? $"{Describe()}: the likely cause. {HowToRaise}." : "";
    }

    private static bool HasIpcLockCapability()
    {
        const int IpcLock = 14;
        foreach (string line in File.ReadLines("/proc/self/status"))
        {
            if (line.StartsWith("CapEff:", StringComparison.Ordinal))
                return (ulong.Parse(line.AsSpan(7).Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture) >> IpcLock & 1) != 0;
        }
        return false;
    }

    [LibraryImport("libc")]
    private static partial int getrlimit(int resource, ResourceLimit* limit);

    [StructLayout(LayoutKind.Sequential)]
    private struct ResourceLimit
    {
        public ulong Soft;
        public ulong Hard;
    }
}
