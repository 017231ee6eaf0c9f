using AllocTools.Interop;
using AllocTools.Ucx.Interop;
using AllocTools.Validation;

namespace AllocTools.Ucx;

/// <summary>
/// Creates the exceptions for UCX's failures. UCX's statuses are reported as the system's error numbers, which have
/// the same meaning for every provider.
/// </summary>
internal static class UcxErrors
{
    private const int IoError = 5, Busy = 16, NoDevice = 19, InvalidArgument = 22, NoSpace = 28, NotSupported = 95;
    private const int ConnectionReset = 104, NotConnected = 107, TimedOut = 110, ConnectionRefused = 111, HostUnreachable = 113, Canceled = 125;

    /// <summary>Returns the system's error number that is nearest to a status.</summary>
    public static int NumberOf(sbyte status) => status switch
    {
        UcsStatus.UCS_ERR_NO_MEMORY or UcsStatus.UCS_ERR_NO_RESOURCE => SystemErrors.NoMemory,
        UcsStatus.UCS_ERR_INVALID_PARAM or UcsStatus.UCS_ERR_INVALID_ADDR => InvalidArgument,
        UcsStatus.UCS_ERR_UNREACHABLE => HostUnreachable,
        UcsStatus.UCS_ERR_NOT_IMPLEMENTED or UcsStatus.UCS_ERR_UNSUPPORTED => NotSupported,
        UcsStatus.UCS_ERR_NO_DEVICE or UcsStatus.UCS_ERR_NO_ELEM => NoDevice,
        UcsStatus.UCS_ERR_BUSY => Busy,
        UcsStatus.UCS_ERR_CANCELED => Canceled,
        UcsStatus.UCS_ERR_EXCEEDS_LIMIT => NoSpace,
        UcsStatus.UCS_ERR_TIMED_OUT or UcsStatus.UCS_ERR_ENDPOINT_TIMEOUT => TimedOut,
        UcsStatus.UCS_ERR_REJECTED => ConnectionRefused,
        UcsStatus.UCS_ERR_NOT_CONNECTED => NotConnected,
        UcsStatus.UCS_ERR_CONNECTION_RESET => ConnectionReset,
        _ => IoError,
    };

    /// <summary>Whether an error number means that the connection is broken.</summary>
    public static bool IsLoss(int error) => error is ConnectionReset or NotConnected or TimedOut or ConnectionRefused or HostUnreachable;

    public static RmaProviderException Provider(UcxLibrary library, string operation, sbyte status, string detail = "")
    {
        int error = NumberOf(status);
        return new RmaProviderException(
            $"{operation} failed with {SystemErrors.NameOf(error)} ({library.TextOf(status)}) on provider '{UcxContext.ProviderName}'.{detail} {SystemShortage.Explain(error)}".TrimEnd(),
            error,
            SystemErrors.NameOf(error));
    }

    public static RmaRegistrationException Registration(UcxLibrary library, string operation, long length, sbyte status)
    {
        int error = NumberOf(status);
        // A device that may not lock more memory reports only that its call has failed.
        string advice = SystemShortage.Explain(status == UcsStatus.UCS_ERR_IO_ERROR ? SystemErrors.NoMemory : error);
        return new RmaRegistrationException(
            $"{operation} of {InWords.Size(length)} failed with {SystemErrors.NameOf(error)} ({library.TextOf(status)}) on provider '{UcxContext.ProviderName}'. {advice}".TrimEnd(),
            operation,
            length,
            UcxContext.ProviderName,
            error,
            SystemErrors.NameOf(error));
    }
}
