using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;

namespace AllocTools.Diagnostics;

/// <summary>
/// Listeners to meters and spans are somebody else's code, which runs in the midst of ours: what one throws changes
/// nothing, and is logged once a logger.
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
