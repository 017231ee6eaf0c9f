using AllocTools.Diagnostics;
using AllocTools.Interop;
using Microsoft.Extensions.Logging;

namespace AllocTools.Libfabric;

/// <summary>libfabric's own settings, which it reads from the environment at the first fi_getinfo of a process.</summary>
/// <remarks>Static because the environment and libfabric's reading of it belong to the process. What the operator has set stays.</remarks>
internal static class LibfabricEnvironment
{
    private static readonly Lock Gate = new();
    private static readonly Dictionary<string, string> SetByUs = new(StringComparer.Ordinal);
    private static bool _applied;

    public static void Apply(LibfabricOptions options, ILogger logger)
    {
        lock (Gate)
        {
            if (!options.MrCache)
                Set_NeedsLock("FI_MR_CACHE_MAX_COUNT", "0", logger);
            foreach ((string name, string value) in options.Settings)
                Set_NeedsLock(name, value, logger);
            _applied = true;
        }
    }

    private static void Set_NeedsLock(string name, string value, ILogger logger)
    {
        if (SetByUs.TryGetValue(name, out string? before) && before == value)
            return;
        if (_applied)
        {
            Log.LibfabricSettingTooLate(logger, name, value);
            return;
        }
        if (NativeEnvironment.TrySet(name, value))
            SetByUs[name] = value;
        else if (before is null)
            Log.LibfabricSettingKept(logger, name, value);
    }
}
