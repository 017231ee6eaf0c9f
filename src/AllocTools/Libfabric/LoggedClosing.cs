using AllocTools.Diagnostics;
using AllocTools.Libfabric.Interop;
using Microsoft.Extensions.Logging;

namespace AllocTools.Libfabric;

/// <summary>Closes native objects in places where a failure can only be logged.</summary>
internal static class LoggedClosing
{
    /// <summary>
    /// Closes an object, now or when the objects that need it are closed. A failure is logged: the objects that it
    /// depends on stay open permanently.
    /// </summary>
    /// <param name="handle">The object; may be null.</param>
    /// <param name="logger">The log for failures.</param>
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
