using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;

namespace AllocTools.Diagnostics;

/// <summary>
/// Listeners to meters and spans are somebody else's code, which runs in the midst of ours: what one throws changes
/// nothing, and is told once a logger.
/// </summary>
internal static class ListenerFailures
{
    private static readonly ConditionalWeakTable<ILogger, object> Told = [];

    public static void Tell(ILogger logger, Exception failure)
    {
        if (Told.TryAdd(logger, logger))
            Log.ListenerFailed(logger, failure);
    }
}
