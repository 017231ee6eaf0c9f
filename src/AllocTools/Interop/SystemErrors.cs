using System.Globalization;

namespace AllocTools.Interop;

/// <summary>Symbols of the operating system's error numbers that memory calls return.</summary>
internal static class SystemErrors
{
    public const int NotPermitted = 1;
    public const int Again = 11;
    public const int NoMemory = 12;
    public const int AccessDenied = 13;
    public const int BadAddress = 14;
    public const int Busy = 16;

    public static string NameOf(int error) => OperatingSystem.IsWindows()
        ? "error " + error.ToString(CultureInfo.InvariantCulture)
        : error switch
        {
            NotPermitted => "EPERM",
            Again => "EAGAIN",
            NoMemory => "ENOMEM",
            AccessDenied => "EACCES",
            BadAddress => "EFAULT",
            5 => "EIO",
            Busy => "EBUSY",
            19 => "ENODEV",
            22 => "EINVAL",
            28 => "ENOSPC",
            95 => "EOPNOTSUPP",
            103 => "ECONNABORTED",
            104 => "ECONNRESET",
            107 => "ENOTCONN",
            110 => "ETIMEDOUT",
            111 => "ECONNREFUSED",
            113 => "EHOSTUNREACH",
            125 => "ECANCELED",
            35 when OperatingSystem.IsMacOS() => "EAGAIN",
            _ => "errno " + error.ToString(CultureInfo.InvariantCulture),
        };
}
