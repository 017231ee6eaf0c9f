using AllocTools.Diagnostics;
using AllocTools.Libfabric.Interop;
using Microsoft.Extensions.Logging;

namespace AllocTools.Libfabric;

/// <summary>Closing native objects where nobody could be told of a failure but by the log.</summary>
internal static class LoggedClosing
{
    /// <summary>Closes it, now or when what needs it is closed. A failure is logged: what it depends on stays open permanently.</summary>
    /// <param name="handle">The object; null where there is none.</param>
    /// <param name="logger">Where a failure is told.</param>
    /// <param name="what">The call, such as <c>fi_close (domain)</c>.</param>
    public static void CloseLogged(this FidHandle? handle, ILogger logger, string what)
    {
        if (handle is null)
            return;
        handle.Dispose();
        if (handle.CloseStatus != 0)
            Log.CloseFailed(logger, what, FiErrno.NameOf(handle.CloseStatus));
    }
}
