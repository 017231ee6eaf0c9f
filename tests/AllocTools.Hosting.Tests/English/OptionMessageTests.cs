using AllocTools.Connections;
using AllocTools.Connections.Directories;
using AllocTools.Connections.Redis;
using AllocTools.HostMemory;
using AllocTools.Hosting.Tests.Reference;
using AllocTools.Hosting.Tests.Support;
using AllocTools.Libfabric;
using AllocTools.Mpi;
using AllocTools.Providers;
using AllocTools.Ucx;
using AllocTools.Validation;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Xunit;

namespace AllocTools.Hosting.Tests.English;

/// <summary>Tests that the error of each invalid option contains its whole path, the value found, and what it must be.</summary>
public sealed class OptionMessageTests
{
    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    /// <summary>The keys of all options, by the services that read them.</summary>
    private static readonly Dictionary<string, IReadOnlyList<ReferenceKey>> Keys = new()
    {
        ["host"] = [.. KeyReference.Pool, .. KeyReference.Host],
        ["libfabric"] = KeyReference.Libfabric,
        ["ucx"] = KeyReference.Ucx,
        ["mpi"] = KeyReference.Mpi,
        ["connections"] = KeyReference.Connections,
        ["directory"] = KeyReference.Directory,
        ["redis"] = KeyReference.Redis,
    };

    public static TheoryData<string, string, string, string> Values =>
    [
        .. from services in Keys
           from key in services.Value.SelectMany(static k => k.All)
           from wrong in WrongValues(key)
           select new TheoryDataRow<string, string, string, string>(services.Key, key.Path + wrong.Below, wrong.Value, $"AllocTools:{key.Path} is {wrong.Shown}"),
    ];

    [Theory]
    [MemberData(nameof(Values))]
    public async Task Each_value_out_of_range_is_named_with_its_path_and_what_it_must_be(string services, string path, string value, string start)
    {
        IEnumerable<string> failures = await StartAsync(services, new() { [path] = value });
        Assert.Contains(failures, f => f.StartsWith(start + "; it must be ", StringComparison.Ordinal));
    }

    [Fact]
    public void Each_option_has_a_value_that_is_tried()
    {
        string[] tried = [.. Values.Select(static row => row.Data.Item4[..row.Data.Item4.IndexOf(" is ", StringComparison.Ordinal)]).Distinct()];
        Assert.Empty(Keys.Values.SelectMany(static k => k).SelectMany(static k => k.All).Select(static k => "AllocTools:" + k.Path).Except(tried));
    }

    [Theory]
    [InlineData("host", "AllocTools:ClearOnReturn and PoisonOnReturn are both true", "ClearOnReturn=true", "PoisonOnReturn=true")]
    [InlineData("host", "AllocTools:SizeClasses has 1 entry and SizeClassRange is set", "SizeClasses:0:BlockSize=4096", "SizeClassRange:From=256")]
    [InlineData("host", "AllocTools:SizeClassRange:To (256 bytes)", "SizeClassRange:From=512", "SizeClassRange:To=256")]
    [InlineData("host", "AllocTools:SizeClasses:1:BlockSize (1 KiB)", "SizeClasses:0:BlockSize=4096", "SizeClasses:1:BlockSize=1024")]
    [InlineData("host", "AllocTools:SizeClasses:0:BlockSize (2 MiB)", "SizeClasses:0:BlockSize=2 MiB", "MaxRegisteredBytes=1 MiB")]
    [InlineData("host", "AllocTools:SizeClasses has InitialBlocks of 2 MiB", "SizeClasses:0:BlockSize=1 MiB", "SizeClasses:0:InitialBlocks=2", "MaxRegisteredBytes=1 MiB")]
    [InlineData("libfabric", "AllocTools:Provider:Settings has 'UCX_TLS'", "Provider:Settings:UCX_TLS=tcp")]
    [InlineData("libfabric", "AllocTools:Provider:Service is '4711'", "Provider:Service=4711")]
    [InlineData("libfabric", "AllocTools:Provider:Service is '65536'", "Provider:Service=65536", "Provider:Node=127.0.0.1")]
    [InlineData("ucx", "AllocTools:Provider:Settings has 'FI_PROVIDER'", "Provider:Settings:FI_PROVIDER=tcp")]
    [InlineData("ucx", "AllocTools:Provider:Settings has 'UCX_TLS'", "Provider:Settings:UCX_TLS=tcp")]
    [InlineData("mpi", "AllocTools:Provider:Settings has 'NCCL_DEBUG'", "Provider:Settings:NCCL_DEBUG=1")]
    [InlineData("connections", "AllocTools:Connections:PeerTimeout (1 second)", "Connections:PeerTimeout=1s", "Connections:HeartbeatInterval=1s")]
    [InlineData("connections", "AllocTools:Connections:MaxRingBytes (1 KiB)", "Connections:MaxRingBytes=1 KiB", "Connections:InitialRingBytes=2 KiB")]
    [InlineData("connections", "AllocTools:Connections:LocalPool is 'default'", "Connections:LocalPool=default")]
    [InlineData("directory", "AllocTools:Directory:RequestTimeout (1 second)", "Directory:Peers=http://localhost", "Directory:RequestTimeout=1s", "Directory:Lease=2s")]
    [InlineData("directory", "AllocTools:Directory:MaxBytes (64 KiB)", "Directory:Peers=http://localhost", "Directory:MaxBytes=64 KiB", "Directory:MaxEntryBytes=128 KiB")]
    [InlineData("directory", "AllocTools:Directory:Peers is 'localhost'", "Directory:Peers=localhost")]
    [InlineData("directory", "AllocTools:Directory:Peers is not set")]
    [InlineData("redis", "AllocTools:Directory:Redis:KeyPrefix is 'a b'", "Directory:Redis:KeyPrefix=a b", "Directory:Redis:Configuration=localhost")]
    [InlineData("redis", "AllocTools:Directory:Redis:Configuration is not valid: 'sll'", "Directory:Redis:Configuration=localhost,sll=true")]
    public async Task Options_that_contradict_each_other_are_named_with_their_path_and_what_must_hold(string services, string start, params string[] settings)
    {
        IEnumerable<string> failures = await StartAsync(services, settings.Select(static s => s.Split('=', 2)).ToDictionary(static s => s[0], static s => s[1]));
        Assert.Contains(failures, f => f.StartsWith(start, StringComparison.Ordinal) && f.Contains(" must ", StringComparison.Ordinal));
    }

    /// <summary>
    /// Returns values that an option does not allow: the suffix of its key, the value, and how the error shows it.
    /// </summary>
    private static IEnumerable<(string Below, string Value, string Shown)> WrongValues(ReferenceKey key)
    {
        // A text may be anything except an object.
        if (key.Key.Kind == RmaOptionKind.Text)
            yield return (":x", "1", "an object or a list");
        else
            yield return ("", "nonsense", "'nonsense'");
        if (key.Rule is OptionRangeAttribute range)
        {
            yield return ("", $"{range.Least - 1}", InWords.Number(range.Least - 1));
            yield return ("", $"{range.Most + 1}", InWords.Number(range.Most + 1));
            if (range.Multiple != 1)
                yield return ("", $"{range.Least + 1}", InWords.Number(range.Least + 1));
        }
        if (key.Rule is OptionTimeRangeAttribute times)
        {
            // One millisecond below 0 stands for "never".
            foreach (TimeSpan time in new[] { times.Least - TimeSpan.FromMilliseconds(times.Least == TimeSpan.Zero ? 2 : 0.5), times.Most + TimeSpan.FromMilliseconds(1) })
                yield return ("", time.ToString("c"), InWords.Time(time));
        }
    }

    private static async Task<IEnumerable<string>> StartAsync(string services, Dictionary<string, string> settings)
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder();
        builder.Configuration.AddInMemoryCollection(settings.Select(static s => KeyValuePair.Create("AllocTools:" + s.Key, (string?)s.Value)));
        IConfigurationSection section = builder.Configuration.GetSection("AllocTools");
        _ = services switch
        {
            "libfabric" => builder.Services.AddRmaMemoryPool<LibfabricProvider>(section),
            "ucx" => builder.Services.AddRmaMemoryPool<UcxProvider>(section),
            "mpi" => builder.Services.AddRmaMemoryPool<MpiProvider>(section),
            _ => builder.Services.AddRmaMemoryPool<HostProvider>(section),
        };
        if (services == "connections")
            builder.Services.AddRmaConnections();
        if (services == "directory")
            builder.Services.AddRmaDirectory();
        if (services == "redis")
            builder.Services.AddRmaDirectory().UseRedis();
        using IHost host = builder.Build();
        return (await Assert.ThrowsAsync<RmaOptionsValidationException>(() => host.StartAsync(Cancelled))).Failures;
    }
}
