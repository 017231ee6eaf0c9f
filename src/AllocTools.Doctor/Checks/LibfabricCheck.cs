using System.Text.Json.Nodes;
using AllocTools.Libfabric;
using AllocTools.Libfabric.Interop;
using AllocTools.Validation;

namespace AllocTools.Doctor.Checks;

/// <summary>libfabric: where it is, its version, what is known to be wrong with that, and what it offers here.</summary>
internal sealed class LibfabricCheck() : Check("libfabric")
{
    private const string ProvidersName = "providers";

    public override bool RunsApart => true;

    public override IEnumerable<Finding> Run(Examination examination)
    {
        if (LibfabricLibrary.TryLoad(examination.Settings?.LibraryPathOf(ProviderKind.Libfabric), out string reason) is not { } library)
        {
            // "libfabric could not be loaded: looked for X; install it with Y."
            string[] parts = reason.TrimEnd('.').Split("; ", 2);
            string advice = parts.Length == 2 ? Examination.Sentence(parts[1]) : "Correct LibraryPath in the settings";
            yield return examination.Settings switch
            {
                null => Warn(parts[0], advice),
                { Kind: ProviderKind.Libfabric } => Fail(parts[0], advice),
                _ => Absent(parts[0] + "; the settings ask for another library"),
            };
            yield break;
        }
        string path = MappedLibrary.PathOf("libfabric") ?? "built in";
        yield return Ok($"libfabric {library.Version} ({path})", new JsonObject { ["version"] = library.Version.ToString(), ["path"] = path });
        foreach (KnownFault fault in KnownFault.Of(KnownFault.OfLibfabric, library.Version))
            yield return Warn($"libfabric {library.Version}: {fault.What}", fault.Advice);
        List<Offer> offers = List(library);
        foreach (IGrouping<string, Offer> provider in offers.GroupBy(static o => o.Provider))
            yield return Describe(provider.Key, [.. provider]);
        if (FindMissing(examination, library.Version, offers) is { } missing)
            yield return missing;
    }

    private static Finding Describe(string provider, IReadOnlyList<Offer> offers)
    {
        Offer first = offers[0];
        string[] domains = [.. offers.Select(static o => o.Domain).Distinct()];
        string longest = first.LongestMessage >= long.MaxValue ? "any length" : $"up to {InWords.Bytes((long)first.LongestMessage)}";
        return new Finding(ProvidersName, FindingStatus.Ok,
            $"{provider}: {InWords.Count(domains.Length, "domain", "domains")} ({string.Join(", ", domains)}), mr_mode {(first.MrMode.Length == 0 ? "none" : string.Join(" ", first.MrMode))}, "
            + $"{string.Join(" ", first.Caps)}, messages of {longest}, keys of {InWords.Count(first.KeySize, "byte", "bytes")}")
        {
            Facts = new JsonObject
            {
                ["provider"] = provider,
                ["domains"] = ToJson(domains),
                ["mrMode"] = ToJson(first.MrMode),
                ["caps"] = ToJson(first.Caps),
                ["maxMessageBytes"] = first.LongestMessage,
                ["keyBytes"] = first.KeySize,
            },
        };
    }

    /// <summary>A device is there, and no provider that uses it.</summary>
    private static Finding? FindMissing(Examination examination, Version version, IReadOnlyList<Offer> offers)
    {
        Machine machine = examination.Machine;
        (string Device, string[] Providers)[] wanted =
        [
            .. machine.List("/sys/class/infiniband").Select(d => (d, IsEfa(machine, d) ? (string[])["efa"] : ["verbs", "psm3", "opx", "ucx"])),
            .. machine.CxiDevices.Select(static d => (d, (string[])["cxi"])),
        ];
        foreach ((string device, string[] providers) in wanted)
        {
            if (offers.Any(o => providers.Any(p => o.Provider.Split(';').Contains(p))))
                continue;
            string filter = machine.Variable("FI_PROVIDER") is { Length: > 0 } value ? $"Unset FI_PROVIDER, which is '{value}'"
                : examination.LockLimit is { } limit and < (1 << 20) * 64 ? $"Raise RLIMIT_MEMLOCK, which is {InWords.Size(limit)}: a low limit makes verbs vanish"
                : $"Install a libfabric that was built with provider {providers[0]}, and the device's library (rdma-core)";
            return new Finding(ProvidersName, FindingStatus.Problem, $"The device {device} is there, but libfabric {version} offers no provider for it ({string.Join(", ", providers)})") { Advice = filter };
        }
        return null;
    }

    internal static bool IsEfa(Machine machine, string device) => device.StartsWith("efa", StringComparison.Ordinal) || machine.Read($"/sys/class/infiniband/{device}/device/vendor") == "0x1d0f";

    private static unsafe List<Offer> List(LibfabricLibrary library)
    {
        List<Offer> offers = [];
        using InfoHandle hints = LibfabricDiscovery.MakeHints(library, new LibfabricOptions { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite }, 0);
        if (library.GetInfo(FiVersion.Api, null, null, 0, hints.Info, out fi_info* list) != 0)
            return offers;
        for (fi_info* entry = list; entry != null; entry = entry->next)
        {
            offers.Add(new Offer(
                InfoHandle.Text(entry->fabric_attr->prov_name),
                InfoHandle.Text(entry->domain_attr->name),
                NamesOf((ulong)entry->domain_attr->mr_mode, MrModes),
                NamesOf(entry->caps, Caps),
                entry->ep_attr->max_msg_size,
                (int)entry->domain_attr->mr_key_size));
        }
        library.FreeInfo(list);
        return offers;
    }

    private static string[] NamesOf(ulong bits, (string Name, ulong Bit)[] names) => [.. names.Where(n => (bits & n.Bit) != 0).Select(static n => n.Name)];

    private static readonly (string, ulong)[] MrModes =
    [
        ("FI_MR_LOCAL", FiMrMode.FI_MR_LOCAL), ("FI_MR_RAW", FiMrMode.FI_MR_RAW), ("FI_MR_VIRT_ADDR", FiMrMode.FI_MR_VIRT_ADDR),
        ("FI_MR_ALLOCATED", FiMrMode.FI_MR_ALLOCATED), ("FI_MR_PROV_KEY", FiMrMode.FI_MR_PROV_KEY), ("FI_MR_MMU_NOTIFY", FiMrMode.FI_MR_MMU_NOTIFY),
        ("FI_MR_RMA_EVENT", FiMrMode.FI_MR_RMA_EVENT), ("FI_MR_ENDPOINT", FiMrMode.FI_MR_ENDPOINT), ("FI_MR_HMEM", FiMrMode.FI_MR_HMEM),
        ("FI_MR_COLLECTIVE", FiMrMode.FI_MR_COLLECTIVE),
    ];

    private static readonly (string, ulong)[] Caps =
    [
        ("FI_MSG", FiCaps.FI_MSG), ("FI_RMA", FiCaps.FI_RMA), ("FI_TAGGED", FiCaps.FI_TAGGED), ("FI_READ", FiCaps.FI_READ), ("FI_WRITE", FiCaps.FI_WRITE),
        ("FI_REMOTE_READ", FiCaps.FI_REMOTE_READ), ("FI_REMOTE_WRITE", FiCaps.FI_REMOTE_WRITE), ("FI_HMEM", FiCaps.FI_HMEM),
    ];

    private sealed record Offer(string Provider, string Domain, string[] MrMode, string[] Caps, ulong LongestMessage, int KeySize);
}
