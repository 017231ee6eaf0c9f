using System.Runtime.CompilerServices;

namespace AllocTools.Libfabric.Interop;

/// <summary>Error codes, as positive numbers; calls return them negated. fi_errno(3).</summary>
/// <remarks>
/// Codes below 256 are the errno values of the system that libfabric was built for, so each is listed with its value
/// on Linux, macOS and Windows (the C runtime's errno.h). The choice is a constant once compiled.
/// </remarks>
internal static class FiErrno
{
    public const int FI_SUCCESS = 0;

    public const int FI_EOTHER = 256;
    public const int FI_ETOOSMALL = 257;
    public const int FI_EOPBADSTATE = 258;
    public const int FI_EAVAIL = 259;
    public const int FI_EBADFLAGS = 260;
    public const int FI_ENOEQ = 261;
    public const int FI_EDOMAIN = 262;
    public const int FI_ENOCQ = 263;
    public const int FI_ECRC = 264;
    public const int FI_ETRUNC = 265;
    public const int FI_ENOKEY = 266;
    public const int FI_ENOAV = 267;
    public const int FI_EOVERRUN = 268;
    public const int FI_ENORX = 269;

    // Stands for a name for which a system has no value of its own; no status equals it.
    private const int None = int.MaxValue;

    private static readonly (int Code, string Name)[] Names =
    [
        (FI_EPERM, nameof(FI_EPERM)),
        (FI_ENOENT, nameof(FI_ENOENT)),
        (FI_EINTR, nameof(FI_EINTR)),
        (FI_EIO, nameof(FI_EIO)),
        (FI_E2BIG, nameof(FI_E2BIG)),
        (FI_EBADF, nameof(FI_EBADF)),
        (FI_EAGAIN, nameof(FI_EAGAIN)),
        (FI_ENOMEM, nameof(FI_ENOMEM)),
        (FI_EACCES, nameof(FI_EACCES)),
        (FI_EFAULT, nameof(FI_EFAULT)),
        (FI_EBUSY, nameof(FI_EBUSY)),
        (FI_ENODEV, nameof(FI_ENODEV)),
        (FI_EINVAL, nameof(FI_EINVAL)),
        (FI_EMFILE, nameof(FI_EMFILE)),
        (FI_ENOSPC, nameof(FI_ENOSPC)),
        (FI_ENOSYS, nameof(FI_ENOSYS)),
        (FI_ENOMSG, nameof(FI_ENOMSG)),
        (FI_ENODATA, nameof(FI_ENODATA)),
        (FI_EOVERFLOW, nameof(FI_EOVERFLOW)),
        (FI_EMSGSIZE, nameof(FI_EMSGSIZE)),
        (FI_ENOPROTOOPT, nameof(FI_ENOPROTOOPT)),
        (FI_EOPNOTSUPP, nameof(FI_EOPNOTSUPP)),
        (FI_EADDRINUSE, nameof(FI_EADDRINUSE)),
        (FI_EADDRNOTAVAIL, nameof(FI_EADDRNOTAVAIL)),
        (FI_ENETDOWN, nameof(FI_ENETDOWN)),
        (FI_ENETUNREACH, nameof(FI_ENETUNREACH)),
        (FI_ECONNABORTED, nameof(FI_ECONNABORTED)),
        (FI_ECONNRESET, nameof(FI_ECONNRESET)),
        (FI_ENOBUFS, nameof(FI_ENOBUFS)),
        (FI_EISCONN, nameof(FI_EISCONN)),
        (FI_ENOTCONN, nameof(FI_ENOTCONN)),
        (FI_ESHUTDOWN, nameof(FI_ESHUTDOWN)),
        (FI_ETIMEDOUT, nameof(FI_ETIMEDOUT)),
        (FI_ECONNREFUSED, nameof(FI_ECONNREFUSED)),
        (FI_EHOSTDOWN, nameof(FI_EHOSTDOWN)),
        (FI_EHOSTUNREACH, nameof(FI_EHOSTUNREACH)),
        (FI_EALREADY, nameof(FI_EALREADY)),
        (FI_EINPROGRESS, nameof(FI_EINPROGRESS)),
        (FI_EREMOTEIO, nameof(FI_EREMOTEIO)),
        (FI_ECANCELED, nameof(FI_ECANCELED)),
        (FI_EKEYREJECTED, nameof(FI_EKEYREJECTED)),
        (FI_EOTHER, nameof(FI_EOTHER)),
        (FI_ETOOSMALL, nameof(FI_ETOOSMALL)),
        (FI_EOPBADSTATE, nameof(FI_EOPBADSTATE)),
        (FI_EAVAIL, nameof(FI_EAVAIL)),
        (FI_EBADFLAGS, nameof(FI_EBADFLAGS)),
        (FI_ENOEQ, nameof(FI_ENOEQ)),
        (FI_EDOMAIN, nameof(FI_EDOMAIN)),
        (FI_ENOCQ, nameof(FI_ENOCQ)),
        (FI_ECRC, nameof(FI_ECRC)),
        (FI_ETRUNC, nameof(FI_ETRUNC)),
        (FI_ENOKEY, nameof(FI_ENOKEY)),
        (FI_ENOAV, nameof(FI_ENOAV)),
        (FI_EOVERRUN, nameof(FI_EOVERRUN)),
        (FI_ENORX, nameof(FI_ENORX)),
    ];
    public static int FI_EPERM => 1;
    public static int FI_ENOENT => 2;
    public static int FI_EINTR => 4;
    public static int FI_EIO => 5;
    public static int FI_E2BIG => 7;
    public static int FI_EBADF => 9;
    public static int FI_EAGAIN => On(linux: 11, macOS: 35, windows: 11);
    public static int FI_ENOMEM => 12;
    public static int FI_EACCES => 13;
    public static int FI_EFAULT => 14;
    public static int FI_EBUSY => 16;
    public static int FI_ENODEV => 19;
    public static int FI_EINVAL => 22;
    public static int FI_EMFILE => 24;
    public static int FI_ENOSPC => 28;
    public static int FI_ENOSYS => On(linux: 38, macOS: 78, windows: 40);
    public static int FI_ENOMSG => On(linux: 42, macOS: 91, windows: 122);
    public static int FI_ENODATA => On(linux: 61, macOS: 96, windows: 120);
    public static int FI_EOVERFLOW => On(linux: 75, macOS: 84, windows: 132);
    public static int FI_EMSGSIZE => On(linux: 90, macOS: 40, windows: 115);
    public static int FI_ENOPROTOOPT => On(linux: 92, macOS: 42, windows: 123);
    public static int FI_EOPNOTSUPP => On(linux: 95, macOS: 102, windows: 130);
    public static int FI_EADDRINUSE => On(linux: 98, macOS: 48, windows: 100);
    public static int FI_EADDRNOTAVAIL => On(linux: 99, macOS: 49, windows: 101);
    public static int FI_ENETDOWN => On(linux: 100, macOS: 50, windows: 116);
    public static int FI_ENETUNREACH => On(linux: 101, macOS: 51, windows: 118);
    public static int FI_ECONNABORTED => On(linux: 103, macOS: 53, windows: 106);
    public static int FI_ECONNRESET => On(linux: 104, macOS: 54, windows: 108);
    public static int FI_ENOBUFS => On(linux: 105, macOS: 55, windows: 119);
    public static int FI_EISCONN => On(linux: 106, macOS: 56, windows: 113);
    public static int FI_ENOTCONN => On(linux: 107, macOS: 57, windows: 126);
    public static int FI_ESHUTDOWN => On(linux: 108, macOS: 58, windows: None);
    public static int FI_ETIMEDOUT => On(linux: 110, macOS: 60, windows: 138);
    public static int FI_ECONNREFUSED => On(linux: 111, macOS: 61, windows: 107);
    public static int FI_EHOSTDOWN => On(linux: 112, macOS: 64, windows: None);
    public static int FI_EHOSTUNREACH => On(linux: 113, macOS: 65, windows: 110);
    public static int FI_EALREADY => On(linux: 114, macOS: 37, windows: 103);
    public static int FI_EINPROGRESS => On(linux: 115, macOS: 36, windows: 112);
    public static int FI_EREMOTEIO => On(linux: 121, macOS: None, windows: None);
    public static int FI_ECANCELED => On(linux: 125, macOS: 89, windows: 105);
    public static int FI_EKEYREJECTED => On(linux: 129, macOS: None, windows: None);

    /// <summary>Returns the code's name, such as <c>FI_ENOMEM</c>, whatever its sign; <c>errno 123</c> for an unknown code.</summary>
    public static string NameOf(int status)
    {
        int code = status < 0 ? unchecked(-status) : status;
        foreach ((int known, string name) in Names)
        {
            if (known == code && known != None)
                return name;
        }

        return code == FI_SUCCESS ? nameof(FI_SUCCESS) : $"errno {code}";
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int On(int linux, int macOS, int windows)
        => OperatingSystem.IsWindows() ? windows : OperatingSystem.IsMacOS() ? macOS : linux;
}
