using AllocTools.Caching;
using System.Reflection;
using AllocTools.HostMemory;
using AllocTools.Hosting.Configuration;
using AllocTools.Hosting.Tests.Support;
using AllocTools.Libfabric;
using AllocTools.Mpi;
using AllocTools.Providers;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Tests values in the configuration: sizes with units, and all mistakes reported at once.</summary>
public sealed class ConfigurationTests
{
    private const string Bytes = "a number of bytes, alone or with B, KiB, MiB, GiB or TiB, such as \"64 KiB\"";

    private const string Time = "a time such as \"00:00:30\", \"30s\", \"500ms\", \"5min\" or \"2h\", or \"never\"";

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("65536", 65536)]
    [InlineData("64 KiB", 65536)]
    [InlineData("64KiB", 65536)]
    [InlineData(" 64  kib ", 65536)]
    [InlineData("3 MiB", 3 << 20)]
    [InlineData("2 GiB", 2L << 30)]
    [InlineData("1 TiB", 1L << 40)]
    [InlineData("65536 B", 65536)]
    public async Task Sizes_have_units(string text, long bytes)
    {
        using IHost host = await StartAsync($$"""{ "AllocTools": { "MaxRegisteredBytes": "{{text}}" } }""");
        Assert.Equal(bytes, host.Services.GetRequiredService<IRmaMemoryPool>().GetStatistics().LimitBytes);
        await host.StopAsync(Cancelled);
    }

    [Theory]
    [InlineData("1 GB", "1 GiB")]
    [InlineData("1.5 GiB", "1536 MiB")]
    [InlineData("64 kB", "64 KiB")]
    [InlineData("64k", "64 KiB")]
    [InlineData("64 K", "64 KiB")]
    [InlineData("2G", "2 GiB")]
    [InlineData("65,536", "64 KiB")]
    [InlineData("1_000", "1000 B")]
    [InlineData("0x1000", null)]
    [InlineData("9000000 TiB", null)]
    [InlineData("KiB", null)]
    [InlineData("0.3 B", null)]
    public async Task A_size_that_cant_be_read_is_answered_with_the_right_spelling(string text, string? meant) =>
        Assert.Equal(
            [$"AllocTools:MaxSlabBytes is '{text}'; it must be {Bytes}.{(meant is null ? "" : $" Did you mean \"{meant}\"?")}"],
            await FailuresAsync($$"""{ "AllocTools": { "MaxSlabBytes": "{{text}}" } }"""));

    [Theory]
    [InlineData("00:00:30", 30_000_000)]
    [InlineData("30s", 30_000_000)]
    [InlineData(" 30 S ", 30_000_000)]
    [InlineData("1.5s", 1_500_000)]
    [InlineData("250ms", 250_000)]
    [InlineData("50us", 50)]
    [InlineData("50 µs", 50)]
    [InlineData("5m", 300_000_000)]
    [InlineData("5min", 300_000_000)]
    [InlineData("2h", 7_200_000_000)]
    [InlineData("1d", 86_400_000_000)]
    [InlineData("never", -1000)]
    [InlineData("Infinite", -1000)]
    [InlineData("-00:00:00.001", -1000)]
    public async Task Times_have_units(string text, long microseconds)
    {
        using IHost host = await StartAsync($$"""{ "AllocTools": { "RentTimeout": "{{text}}" } }""");
        Assert.Equal(microseconds, host.Services.GetRequiredService<RmaMemoryPool<HostProvider>>().Options.RentTimeout.Ticks / TimeSpan.TicksPerMicrosecond);
        await host.StopAsync(Cancelled);
    }

    [Theory]
    [InlineData("30", "30s")]
    [InlineData("-1", "never")]
    [InlineData("unlimited", "never")]
    [InlineData("soon", null)]
    [InlineData("s", null)]
    [InlineData("99999999999999999999d", null)]
    public async Task A_time_that_cant_be_read_is_answered_with_the_right_spelling(string text, string? meant) =>
        Assert.Equal(
            [$"AllocTools:RentTimeout is '{text}'; it must be {Time}.{(meant is null ? "" : $" Did you mean \"{meant}\"?")}"],
            await FailuresAsync($$"""{ "AllocTools": { "RentTimeout": "{{text}}" } }"""));

    /// <summary>Suggestions must be valid for the option: it may not allow 0 or "never".</summary>
    [Theory]
    [InlineData("Endpoint:OperationTimeout", "0", "is 0; it must be between 1 ms and 24 hours, or \"never\" for no limit.")]
    [InlineData("Endpoint:SpinTime", "5", "is '5'; it must be " + Time + ".")]
    [InlineData("Endpoint:SpinTime", "1", "is '1'; it must be " + Time + ". Did you mean \"1s\"?")]
    [InlineData("Endpoint:LongestPause", "-1", "is '-1'; it must be " + Time + ".")]
    [InlineData("Endpoint:OperationTimeout", "100000", "is '100000'; it must be " + Time + ".")]
    public async Task A_suggested_time_is_within_the_range(string key, string text, string message) =>
        Assert.Equal(
            [$"AllocTools:Provider:{key} {message}"],
            await FailuresAsync($$"""{ "AllocTools": { "Provider": { "Endpoint": { "{{key.Split(':')[1]}}": "{{text}}" } } } }"""));

    [Fact]
    public async Task Never_is_refused_by_an_option_that_has_no_never() =>
        Assert.Equal(["AllocTools:DrainTimeout is never; it must be between 0 and 24 hours."], await FailuresAsync("""{ "AllocTools": { "DrainTimeout": "never" } }"""));

    [Fact]
    public async Task All_that_is_wrong_comes_at_once_with_path_value_and_what_would_be_right()
    {
        string[] failures = await FailuresAsync(
            """
            {
              "AllocTools": {
                "MaxRegisterdBytes": "1 GiB",
                "MaxSlabBytes": "much",
                "SizeClasses": [ { "BlockSize": "16 KiB", "InitialBlock": 4 }, { "BlockSize": "big" }, "64 KiB" ],
                "SizeClassRange": 5,
                "RentTimeout": 30,
                "DrainTimeout": "-00:00:01",
                "LeakDetection": "Some",
                "Access": "RemoteRead, RemoteRight",
                "ClearOnReturn": "perhaps",
                "NumaNode": "first",
                "AllowUnknownKeys": "no",
                "Endpoint": { "SpinTime": "00:00:01" },
                "HugePages": { "Size": "2 MiB" },
                "Provider": { "Locking": "Always", "Lokcing": "None" }
              }
            }
            """);
        Assert.Equal(
            [
                "AllocTools:Access is 'RemoteRead, RemoteRight'; it must be one or more of None, Local, RemoteRead, RemoteWrite, separated by commas.",
                "AllocTools:AllowUnknownKeys is 'no'; it must be true or false.",
                "AllocTools:ClearOnReturn is 'perhaps'; it must be true or false.",
                "AllocTools:DrainTimeout is -1 second; it must be between 0 and 24 hours.",
                "AllocTools:HugePages is an object or a list; it must be one of Transparent, Off, Explicit.",
                "AllocTools:LeakDetection is 'Some'; it must be one of Off, Sampled, All.",
                $"AllocTools:MaxSlabBytes is 'much'; it must be {Bytes}.",
                "AllocTools:NumaNode is 'first'; it must be a whole number.",
                "AllocTools:Provider:Locking is 'Always'; it must be one of BestEffort, Required, None.",
                $"AllocTools:RentTimeout is '30'; it must be {Time}. Did you mean \"30s\"?",
                "AllocTools:SizeClassRange is '5'; it must be an object with options.",
                $"AllocTools:SizeClasses:1:BlockSize is 'big'; it must be {Bytes}.",
                "AllocTools:SizeClasses:2 is '64 KiB'; it must be an object with options.",
                "Unknown option AllocTools:Endpoint. The options here are Access, AllowUnknownKeys, CheckPointers, ClearOnReturn, DrainTimeout, HugePages, IdleRetention, Isolation, LeakDetection, MaxIdleDirectBytes, MaxRegisteredBytes, MaxSlabBytes, NumaNode, PoisonOnReturn, Provider, RegistrationCache, RentTimeout, SizeClassRange, SizeClasses, TrimInterval, WarmUp.",
                "Unknown option AllocTools:MaxRegisterdBytes. Did you mean MaxRegisteredBytes?",
                "Unknown option AllocTools:Provider:Lokcing. Did you mean Locking?",
                "Unknown option AllocTools:SizeClasses:0:InitialBlock. Did you mean InitialBlocks?",
            ],
            failures.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_value_where_a_section_belongs_is_told()
    {
        Assert.Equal(
            ["AllocTools:Provider is 'tcp'; it must be an object with options."],
            await FailuresAsync("""{ "AllocTools": { "AllowUnknownKeys": true, "Provider": "tcp" } }"""));
        Assert.Equal(["AllocTools is '5'; it must be an object with options."], await FailuresAsync("""{ "AllocTools": 5 }"""));
        Assert.Equal(
            ["AllocTools:SizeClasses is an object with 'BlockSize'; it must be a list of objects, such as [ { \"BlockSize\": … } ]."],
            await FailuresAsync("""{ "AllocTools": { "SizeClasses": { "BlockSize": "64 KiB" } } }"""));
        foreach ((string json, string says) in new[]
        {
            ("\"tcp\"", "AllocTools:Provider is 'tcp'; it must be an object with options. Did you mean AllocTools:Provider:Provider?"),
            ("{ \"Name\": \"tcp\" }", "Unknown option AllocTools:Provider:Name. Did you mean Provider?"),
        })
        {
            HostApplicationBuilder builder = TestHost.CreateBuilder($$"""{ "AllocTools": { "Provider": {{json}} } }""");
            builder.Services.AddRmaMemoryPool<LibfabricProvider>(builder.Configuration.GetSection("AllocTools"));
            using IHost host = builder.Build();
            RmaOptionsValidationException error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => host.StartAsync(Cancelled));
            Assert.Equal([says], error.Failures);
        }
    }

    [Fact]
    public async Task Unknown_keys_can_be_allowed()
    {
        using IHost host = await StartAsync("""{ "AllocTools": { "AllowUnknownKeys": true, "Comment": "ours", "Provider": { "Note": 1 } } }""");
        await host.StopAsync(Cancelled);
    }

    [Fact]
    public async Task One_section_may_serve_either_provider()
    {
        using IHost host = await StartAsync("""{ "AllocTools": { "Provider": { "Provider": "tcp;ofi_rxm", "Endpoint": { "MaxOutstanding": 5 }, "Locking": "None" } } }""");
        await host.StopAsync(Cancelled);
    }

    [Fact]
    public async Task Sections_of_third_party_providers_are_theirs()
    {
        var journal = new Journal();
        HostApplicationBuilder builder = TestHost.CreateBuilder("""{ "AllocTools": { "Provider": { "Anything": { "Goes": 1 } } } }""");
        builder.Services.AddSingleton(journal);
        builder.Services.AddRmaMemoryPool<RecordingProvider>(builder.Configuration.GetSection("AllocTools"));
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);
        await host.StopAsync(Cancelled);
    }

    [Fact]
    public void Every_option_is_a_key()
    {
        AssertSame(OptionKeys.Pool.Where(k => k.Name != OptionKeys.AllowUnknownKeys), typeof(RmaMemoryPoolOptions));
        AssertSame(HostProvider.Descriptor.Keys, typeof(HostProviderOptions));
        AssertSame(LibfabricProvider.Descriptor.Keys, typeof(LibfabricOptions));
        AssertSame(MpiProvider.Descriptor.Keys, typeof(MpiOptions));
        AssertSame(KeysOf(OptionKeys.Pool, nameof(RmaMemoryPoolOptions.SizeClasses)), typeof(SizeClassOptions));
        AssertSame(KeysOf(OptionKeys.Pool, nameof(RmaMemoryPoolOptions.SizeClassRange)), typeof(SizeClassRangeOptions));
        AssertSame(KeysOf(OptionKeys.Pool, nameof(RmaMemoryPoolOptions.RegistrationCache)), typeof(RmaRegistrationCacheOptions));
        AssertSame(KeysOf(LibfabricProvider.Descriptor.Keys, nameof(LibfabricOptions.Endpoint)), typeof(LibfabricEndpointOptions));
    }

    private static IReadOnlyList<RmaOptionKey> KeysOf(IReadOnlyList<RmaOptionKey> keys, string name) => keys.Single(k => k.Name == name).Keys;

    private static void AssertSame(IEnumerable<RmaOptionKey> keys, Type options)
    {
        PropertyInfo[] properties = options.GetProperties();
        Assert.Equal(properties.Select(p => p.Name).Order(StringComparer.Ordinal), keys.Select(k => k.Name).Order(StringComparer.Ordinal));
        foreach (PropertyInfo property in properties)
            Assert.Contains(keys.Single(k => k.Name == property.Name).Kind, KindsOf(property.PropertyType));
    }

    private static RmaOptionKind[] KindsOf(Type type) => (Nullable.GetUnderlyingType(type) ?? type) switch
    {
        var t when t == typeof(int) => [RmaOptionKind.Integer],
        var t when t == typeof(long) => [RmaOptionKind.Size],
        var t when t == typeof(TimeSpan) => [RmaOptionKind.Duration],
        var t when t == typeof(bool) => [RmaOptionKind.Flag],
        var t when t == typeof(string) => [RmaOptionKind.Text],
        { IsEnum: true } t => t.IsDefined(typeof(FlagsAttribute), false) ? [RmaOptionKind.Choices] : [RmaOptionKind.Choice],
        { IsInterface: true } => [RmaOptionKind.List, RmaOptionKind.Map],
        _ => [RmaOptionKind.Section],
    };

    private static async Task<IHost> StartAsync(string json)
    {
        IHost host = Build(json);
        await host.StartAsync(Cancelled);
        return host;
    }

    private static async Task<string[]> FailuresAsync(string json)
    {
        using IHost host = Build(json);
        return [.. (await Assert.ThrowsAsync<RmaOptionsValidationException>(() => host.StartAsync(Cancelled))).Failures];
    }

    private static IHost Build(string json)
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder(json);
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        return builder.Build();
    }
}
