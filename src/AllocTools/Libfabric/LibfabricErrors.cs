using AllocTools.Interop;
using AllocTools.Libfabric.Interop;
using AllocTools.Validation;

namespace AllocTools.Libfabric;

/// <summary>Creates the errors of libfabric's failures.</summary>
internal static class LibfabricErrors
{
    public static RmaProviderException Provider(LibfabricLibrary library, string provider, string operation, int status, string detail = "")
    {
        int error = Math.Abs(status);
        return new RmaProviderException(
            $"{operation} failed with {FiErrno.NameOf(error)} ({library.StrError(error)}) on provider '{provider}'.{detail} {SystemShortage.Explain(error)}".TrimEnd(),
            error,
            FiErrno.NameOf(error));
    }

    public static RmaRegistrationException Registration(LibfabricLibrary library, string provider, string operation, long length, int status)
    {
        int error = Math.Abs(status);
        string advice = error == FiErrno.FI_EFAULT ? "The memory is not mapped, or is read-only; before Linux 6.2 a device can't pin a file that is mapped shared and read-only."
            : error == FiErrno.FI_ENOSPC ? "The device has no room for more registrations."
            : SystemShortage.Explain(error);
        return new RmaRegistrationException(
            $"{operation} of {InWords.Size(length)} failed with {FiErrno.NameOf(error)} ({library.StrError(error)}) on provider '{provider}'. {advice}".TrimEnd(),
            operation,
            length,
            provider,
            error,
            FiErrno.NameOf(error));
    }

    /// <summary>A registration failed halfway, and could not be undone.</summary>
    public static RmaRegistrationException StillRegistered(LibfabricLibrary library, string provider, long length, Exception failure, int status)
    {
        var known = failure as RmaRegistrationException;
        int error = Math.Abs(status);
        return new RmaRegistrationException(
            $"{failure.Message} Undoing it failed, too: fi_close (registration) failed with {FiErrno.NameOf(error)} ({library.StrError(error)}). The memory stays mapped, and counts against the cap, permanently.",
            known?.Operation ?? "fi_mr_regattr",
            length,
            provider,
            known?.ErrorCode ?? error,
            known?.ErrorName ?? FiErrno.NameOf(error),
            failure)
        {
            IsStillRegistered = true,
        };
    }

    /// <summary>Whether the error means that the connection to a peer is broken, or can't be made.</summary>
    public static bool IsLoss(int status)
    {
        int error = Math.Abs(status);
        return error == FiErrno.FI_ECONNRESET || error == FiErrno.FI_ECONNABORTED || error == FiErrno.FI_ECONNREFUSED || error == FiErrno.FI_ENOTCONN
            || error == FiErrno.FI_ESHUTDOWN || error == FiErrno.FI_EHOSTDOWN || error == FiErrno.FI_ETIMEDOUT;
    }
}
