using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;

namespace AllocTools.Diagnostics;

/// <summary>
/// Listeners to meters and spans are foreign code that runs inside the library: their exceptions have no effect, and
/// are logged once per logger.
/// </summary>
internal static class ListenerFailures
{
    private static readonly ConditionalWeakTable<ILogger, object> Reported = [];

    public static void Report(ILogger logger, Exception failure)
    {
        if (Reported.TryAdd(logger, logger))
            Log.ListenerFailed(logger, failure);
    }
}
