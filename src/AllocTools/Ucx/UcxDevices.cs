using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Ucx.Interop;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace AllocTools.Ucx;

/// <summary>
/// Checks the network devices that a context should use. UCX continues without a device that it does not find, and
/// reports that only on standard error.
/// </summary>
internal static unsafe class UcxDevices
{
    /// <summary>Checks whether the named devices exist, and logs missing ones.</summary>
    /// <param name="library">UCX.</param>
    /// <param name="options">The options.</param>
    /// <param name="parameters">The parameters of the context.</param>
    /// <param name="transports">The transports that the context has opened.</param>
    /// <param name="logger">The log for missing devices.</param>
    /// <exception cref="RmaProviderException">None of the named devices exists.</exception>
    public static void Check(UcxLibrary library, UcxOptions options, ucp_params* parameters, IReadOnlyList<string> transports, ILogger logger)
    {
        string[] missing = Missing(UcxEnvironment.DevicesInForce(options), transports);
        if (transports.Count == 0 || missing.Length == 0)
            return;
        string[] there = Without(All(library, options, parameters), transports);
        string[] used = Named(UcxEnvironment.DevicesInForce(options)).Except(missing).ToArray();
        // Transports without a network have no device, whichever devices are named.
        if (used.Length + there.Length == 0)
            return;
        string all = string.Join(", ", used.Concat(there));
        if (used.Length == 0)
        {
            throw new RmaProviderException(
                $"Provider '{UcxContext.ProviderName}' has none of the network devices that it may use: {UcxEnvironment.DescribeDevices(options)}, and UCX can use {all}.");
        }
        Log.UcxDevicesMissing(logger, UcxEnvironment.DescribeDevices(options), string.Join(", ", missing), all);
    }

    /// <summary>Returns the devices of a list that no transport has opened; none if the list does not consist of names.</summary>
    public static string[] Missing(string? list, IReadOnlyList<string> transports)
    {
        string[] names = Named(list);
        // A device of InfiniBand may be named without its first port.
        return names.Any(static n => n == "all" || n.AsSpan().IndexOfAny("^*?[") >= 0)
            ? []
            : [.. names.Where(n => !transports.Any(t => DeviceOf(t) is var device && (device == n || device == n + ":1")))];
    }

    private static string[] Named(string? list) => (list ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    /// <summary>Returns the devices of some transports that others don't have.</summary>
    private static string[] Without(IReadOnlyList<string> transports, IReadOnlyList<string> others) =>
        [.. transports.Select(DeviceOf).Except(others.Select(DeviceOf))];

    private static string DeviceOf(string transport) => transport[(transport.IndexOf('/', StringComparison.Ordinal) + 1)..];

    /// <summary>Returns the transports of a context that may use all devices.</summary>
    private static IReadOnlyList<string> All(UcxLibrary library, UcxOptions options, ucp_params* parameters)
    {
        void* config = UcxEnvironment.ReadConfig(library, options, NullLogger.Instance);
        try
        {
            UcxEnvironment.Modify(library, config, "NET_DEVICES", "all");
            void* context;
            sbyte status;
            using (SignalHandlers.Keep())
                status = library.Exports.ucp_init_version(UcxLibrary.ApiMajor, UcxLibrary.ApiMinor, parameters, config, &context);
            if (status != UcsStatus.UCS_OK)
                throw UcxErrors.Provider(library, "ucp_init", status);
            IReadOnlyList<string> transports = UcxTransports.Of(library, context);
            library.Exports.ucp_cleanup(context);
            return transports;
        }
        finally
        {
            library.Exports.ucp_config_release(config);
        }
    }
}
