using AllocTools.Diagnostics;
using AllocTools.Interop;
using Microsoft.Extensions.Logging;

namespace AllocTools.Libfabric;

/// <summary>libfabric's own settings, which it reads from the environment at the first fi_getinfo of a process.</summary>
/// <remarks>
/// This is static because the environment, and libfabric's reading of it, belong to the process. Variables that the
/// operator has set are kept.
/// </remarks>
internal static class LibfabricEnvironment
{
    /// <summary>
    /// ofi_rxm posts 4,096 buffers of 16 KiB for each endpoint over tcp, which take 68 MiB and 0.4 s; with this number
    /// it takes 18 MiB, because its pool of buffers grows by 1,024 at a time. Buffers in use are replaced.
    /// </summary>
    private static readonly (string Name, string Value) RxmReceives = ("FI_OFI_RXM_MSG_RX_SIZE", "256");

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
            // verbs has separate receives for each connection, and fewer of them.
            if (!_applied && options.Provider?.Contains("verbs", StringComparison.Ordinal) != true)
                NativeEnvironment.TrySet(RxmReceives.Name, RxmReceives.Value);
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
