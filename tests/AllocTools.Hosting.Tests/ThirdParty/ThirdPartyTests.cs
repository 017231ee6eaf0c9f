using System.Diagnostics;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using AllocTools.Courier;
using AllocTools.Endpoints;
using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Providers;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Newtonsoft.Json.Linq;
using Xunit;

namespace AllocTools.Hosting.Tests.ThirdParty;

/// <summary>Tests that a third-party provider that describes itself is treated like the library's own.</summary>
public sealed class ThirdPartyTests
{
    private const string Json = """
        {
          "Pool": {
            "MaxRegisteredBytes": "1 MiB",
            "SizeClasses": [ { "BlockSize": "64 KiB" } ],
            "Card": {
              "Device": "card7",
              "window": "64 KiB",
              "Mode": "fast",
              "Ports": [ { "Number": 1 }, { "Number": 2, "IsTrusted": true } ],
              "Settings": { "CARD_IRQ": "7", "CARD_DEBUG": true },
              "Endpoint": { "SpinTime": "20 us", "OperationTimeout": "never" }
            }
          },
          "Other": { "Card": { "Device": "card8" } }
        }
        """;

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_one_of_the_documents_needs_no_more_than_its_name()
    {
        HostApplicationBuilder builder = CreateBuilder("{}");
        builder.Services.AddRmaMemoryPool<CourierProvider>(o => o.Access = RmaAccess.RemoteWrite);
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);
        IRmaEndpoint endpoint = host.Services.GetRequiredService<IRmaEndpoint>();
        using RmaBuffer target = host.Services.GetRequiredService<IRmaMemoryPool>().Rent(64);
        using RmaBuffer source = host.Services.GetRequiredService<IRmaMemoryPool>().Rent(64);
        source.Span.Fill(7);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = endpoint.Import(endpoint.InsertPeer(endpoint.Address.Span), exposure.Remote);
        await endpoint.WriteAsync(source, remote, cancellationToken: Cancelled);
        Assert.True(target.Span.SequenceEqual(source.Span));
        await host.StopAsync(Cancelled);
    }

    [Fact]
    public void Its_options_are_bound_from_the_section_that_it_names()
    {
        HostApplicationBuilder builder = CreateBuilder(Json);
        builder.Services.AddRmaMemoryPool<CardProvider>(builder.Configuration.GetSection("Pool")).ConfigureProvider<CardOptions>(o => o.Settings["CARD_DEBUG"] = "False");
        using IHost host = builder.Build();

        CardOptions options = host.Services.GetRequiredService<IOptionsMonitor<CardOptions>>().CurrentValue;
        Assert.Equal("card7", options.Device);
        Assert.Equal(65536, options.Window);
        Assert.Equal(CardMode.Fast, options.Mode);
        Assert.Equal([(1, false), (2, true)], options.Ports.Select(p => (p.Number, p.IsTrusted)));
        Assert.Equal([("CARD_DEBUG", "False"), ("CARD_IRQ", "7")], options.Settings.Select(s => (s.Key, s.Value)).Order());
        Assert.Equal(TimeSpan.FromMicroseconds(20), options.Endpoint.SpinTime);
        Assert.Equal(Timeout.InfiniteTimeSpan, options.Endpoint.OperationTimeout);
        Assert.Equal(new RmaEndpointOptions().MaxOutstanding, options.Endpoint.MaxOutstanding);
        Assert.Equal("card7", host.Services.GetRequiredService<IRmaMemoryPool>().Context.Traits.ProviderName);
    }

    [Fact]
    public async Task All_that_is_wrong_comes_at_once_with_its_path()
    {
        string[] failures = await FailuresAsync(
            """
            {
              "Pool": {
                "MaxSlabBytes": "1 KiB",
                "Provider": { "Device": "card7" },
                "Card": {
                  "Devise": "card7",
                  "Window": 12,
                  "Mode": "Slow",
                  "Ports": [ { "Number": 1 }, { "Number": 3, "Trusted": true } ],
                  "Endpoint": { "SpinTime": "a moment" }
                }
              }
            }
            """);
        Assert.Equal(
            [
                "Pool:Card:Endpoint:SpinTime is 'a moment'; it must be a time such as \"00:00:30\", \"30s\", \"500ms\", \"5min\" or \"2h\", or \"never\".",
                "Pool:Card:Mode is 'Slow'; it must be one of Reliable, Fast.",
                "Pool:Card:Ports:1:Number is 3; it must be 1 or 2.",
                "Pool:Card:Window is 12; it must be between 4,096 and 1,073,741,824 bytes.",
                "Pool:MaxSlabBytes is 1,024; it must be between 65,536 and 17,179,869,184 bytes (64 KiB and 16 GiB).",
                "Unknown option Pool:Card:Devise. Did you mean Device?",
                "Unknown option Pool:Card:Ports:1:Trusted. Did you mean IsTrusted?",
                "Unknown option Pool:Provider. The options here are Access, AllowUnknownKeys, Card, CheckPointers, ClearOnReturn, DrainTimeout, HugePages, IdleRetention, Isolation, LeakDetection, MaxIdleDirectBytes, MaxRegisteredBytes, MaxSlabBytes, NumaNode, PoisonOnReturn, RegistrationCache, RentTimeout, SizeClassRange, SizeClasses, TrimInterval, WarmUp.",
            ],
            failures.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Unknown_keys_can_be_allowed() =>
        await (await StartAsync("""{ "Pool": { "AllowUnknownKeys": true, "Card": { "Devise": "card7" } } }""")).StopAsync(Cancelled);

    [Fact]
    public async Task Options_in_code_are_checked_and_named_by_the_pool()
    {
        HostApplicationBuilder builder = CreateBuilder();
        builder.Services.AddRmaMemoryPool<CardProvider>("x").ConfigureProvider<CardOptions>(o => o.Window = 12);
        using IHost host = builder.Build();
        RmaOptionsValidationException error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => host.StartAsync(Cancelled));
        Assert.Equal(["Pool 'x': Card:Window is 12; it must be between 4,096 and 1,073,741,824 bytes."], error.Failures);
    }

    [Fact]
    public async Task Each_pool_has_options_and_an_endpoint_of_its_own()
    {
        HostApplicationBuilder builder = CreateBuilder(Json);
        builder.Services.AddRmaMemoryPool<CardProvider>(builder.Configuration.GetSection("Pool"));
        builder.Services.AddRmaMemoryPool<CardProvider>("x", builder.Configuration.GetSection("Other"));
        builder.Services.AddRmaMemoryPool<CardProvider>("y");
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);

        IServiceProvider services = host.Services;
        Assert.Equal("card7", services.GetRequiredService<IRmaMemoryPool>().Context.Traits.ProviderName);
        Assert.Equal("card8", services.GetRequiredKeyedService<IRmaMemoryPool>("x").Context.Traits.ProviderName);
        Assert.Equal("card0", services.GetRequiredKeyedService<IRmaMemoryPool>("y").Context.Traits.ProviderName);
        Assert.Same(services.GetRequiredService<IRmaEndpoint>(), services.GetRequiredService<CardEndpoint>());
        Assert.Same(services.GetRequiredKeyedService<IRmaEndpoint>("x"), services.GetRequiredKeyedService<CardEndpoint>("x"));
        Assert.NotSame(services.GetRequiredKeyedService<CardEndpoint>("x"), services.GetRequiredKeyedService<CardEndpoint>("y"));
        await host.StopAsync(Cancelled);
    }

    [Fact]
    public async Task A_change_of_its_section_is_said_to_need_a_restart_and_another_spelling_is_no_change()
    {
        var log = new LogRecorder();
        using SettingsFile file = new(SettingsOf("64 KiB", rentTimeout: 5));
        HostApplicationBuilder builder = file.CreateBuilder(log);
        builder.Services.AddSingleton<ICardDriver, CardDriver>();
        builder.Services.AddRmaMemoryPool<CardProvider>(builder.Configuration.GetSection("Pool"));
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);

        file.Write(SettingsOf("65536", rentTimeout: 6));
        Assert.Equal("Pool 'default' applied changed options: RentTimeout from 00:00:05 to 00:00:06.", await log.Logged(LogRecorder.Reloaded));
        file.Write(SettingsOf("128 KiB", rentTimeout: 6));
        Assert.Contains("Pool:Card:Window from '65536' to '131072'", await log.Logged(LogRecorder.RestartNeeded), StringComparison.Ordinal);
        Assert.Single(log.MessagesOf(LogRecorder.RestartNeeded));
        await host.StopAsync(Cancelled);

        static string SettingsOf(string window, int rentTimeout) => $$"""{ "Pool": { "RentTimeout": "{{rentTimeout}} s", "Card": { "Window": "{{window}}" } } }""";
    }

    [Fact]
    public async Task A_pool_that_shares_it_has_no_options_for_it()
    {
        HostApplicationBuilder builder = CreateBuilder(Json);
        builder.Services.AddRmaMemoryPool<CardProvider>("x", builder.Configuration.GetSection("Pool"));
        builder.Services.AddRmaMemoryPool<CardProvider>("y", builder.Configuration.GetSection("Other")).ShareProviderOf("x");
        using IHost host = builder.Build();
        RmaOptionsValidationException error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => host.StartAsync(Cancelled));
        Assert.Equal(["Other:Card has options, but the pool uses the provider of the pool 'x'. Set them there."], error.Failures);
    }

    [Fact]
    public void An_endpoint_that_is_not_of_the_type_described_is_refused()
    {
        HostApplicationBuilder builder = CreateBuilder();
        builder.Services.AddRmaMemoryPool<MisdescribedProvider>();
        using IHost host = builder.Build();
        Assert.IsType<CardEndpoint>(host.Services.GetRequiredService<IRmaEndpoint>());
        var error = Assert.Throws<InvalidOperationException>(() => host.Services.GetRequiredService<LibfabricEndpoint>());
        Assert.Contains("pool 'default'", error.Message, StringComparison.Ordinal);
        Assert.Contains(nameof(MisdescribedProvider), error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_section_that_is_called_as_an_option_of_the_pool_is_refused()
    {
        HostApplicationBuilder builder = CreateBuilder(Json);
        var error = Assert.Throws<InvalidOperationException>(
            () => builder.Services.AddRmaMemoryPool<MisdescribedProvider>(builder.Configuration.GetSection("Pool")));
        Assert.Equal("MisdescribedProvider has its options in the subsection 'access', but Access is an option of the pool. Its descriptor must name another section.", error.Message);
    }

    [Fact]
    public void Descriptors_refuse_what_they_cant_work_with()
    {
        var keys = new RmaOptionKeys<CardOptions>().Text("Device", (o, v) => o.Device = v);
        Assert.Equal("name", Assert.Throws<ArgumentException>(() => keys.Size("DEVICE", (o, v) => o.Window = v)).ParamName);
        Assert.Equal("name", Assert.Throws<ArgumentException>(() => keys.Size("Card:Window", (o, v) => o.Window = v)).ParamName);
        Assert.Throws<ArgumentNullException>(() => keys.Size("Window", null!));
        Assert.Single(keys);
        Assert.Throws<ArgumentException>(() => new RmaProviderDescriptor<CardOptions>(keys, (_, _) => null!) { SectionName = "A:B" });
        Assert.Throws<ArgumentException>(() => new RmaProviderDescriptor<CardOptions>(keys, (_, _) => null!) { EndpointType = typeof(CardProvider) });
        Assert.Throws<InvalidOperationException>(() => keys[0].Open(new CardOptions()));
    }

    /// <summary>An application may choose a provider of the library at run time, with a single section for all.</summary>
    [Fact]
    public void Each_provider_of_the_library_passes_over_the_keys_of_the_others()
    {
        RmaProviderDescriptor[] descriptors = [.. typeof(HostProvider).Assembly.GetTypes()
            .Where(t => t is { IsClass: true, IsAbstract: false } && t.IsAssignableTo(typeof(IRmaProvider)))
            .Select(t => Assert.IsAssignableFrom<RmaProviderDescriptor>(t.GetProperty(nameof(IRmaProvider.Descriptor))?.GetValue(null)))];
        Assert.Contains(descriptors, d => d.OptionsType == typeof(LibfabricOptions));
        Assert.All(descriptors, d => Assert.Equal(RmaProviderDescriptor.DefaultSectionName, d.SectionName));
        Assert.All(descriptors, d => Assert.Empty(descriptors.SelectMany(o => o.Keys).Select(k => k.Name).Except(d.ForeignKeys)));
    }

    [Fact]
    public void Hosting_names_no_provider()
    {
        using var file = new PEReader(File.OpenRead(typeof(IRmaMemoryPoolBuilder).Assembly.Location));
        MetadataReader metadata = file.GetMetadataReader();
        string[] namespaces = [.. metadata.TypeReferences.Select(t => metadata.GetString(metadata.GetTypeReference(t).Namespace)).Distinct()];
        Assert.Contains(typeof(IRmaProvider).Namespace, namespaces);
        Assert.DoesNotContain(typeof(LibfabricProvider).Namespace, namespaces);
        Assert.DoesNotContain(typeof(HostProvider).Namespace, namespaces);
    }

    [Fact]
    public void The_provider_of_the_document_is_the_one_that_is_tested()
    {
        string code = File.ReadAllText(Path.Combine(Repository.Root, "tests/AllocTools.Hosting.Tests/ThirdParty/CardProvider.cs"));
        string shown = code[code.IndexOf("public sealed class CardProvider", StringComparison.Ordinal)..];
        Assert.Contains($"```csharp\n{shown}```\n", File.ReadAllText(Path.Combine(Repository.Root, "docs/providers.md")), StringComparison.Ordinal);
    }

    /// <summary>Packages with providers have their own schema.</summary>
    [Theory]
    [InlineData("", 1)]
    [InlineData("-p:AllocToolsConfigurationSchema=false", 0)]
    public async Task The_schema_for_editors_can_be_left_out(string argument, int segments)
    {
        string targets = Path.Combine(Repository.Root, "src/AllocTools.Hosting/buildTransitive/AllocTools.Hosting.targets");
        ProcessStartInfo start = new("dotnet", ["msbuild", targets, "-getItem:JsonSchemaSegment", "-nodeReuse:false", .. argument.Split(' ', StringSplitOptions.RemoveEmptyEntries)])
        {
            RedirectStandardOutput = true,
        };
        using Process process = Process.Start(start)!;
        string output = await process.StandardOutput.ReadToEndAsync(Cancelled);
        await process.WaitForExitAsync(Cancelled);
        Assert.Equal(0, process.ExitCode);
        Assert.Equal(segments, JObject.Parse(output)["Items"]!["JsonSchemaSegment"]!.Count());
    }

    private static HostApplicationBuilder CreateBuilder(string? json = null)
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder(json);
        builder.Services.AddSingleton<ICardDriver, CardDriver>();
        return builder;
    }

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
        HostApplicationBuilder builder = CreateBuilder(json);
        builder.Services.AddRmaMemoryPool<CardProvider>(builder.Configuration.GetSection("Pool"));
        return builder.Build();
    }

    /// <summary>A provider whose descriptor is wrong.</summary>
    private sealed class MisdescribedProvider(CardProvider card) : IRmaProvider
    {
        public static RmaProviderDescriptor Descriptor { get; } = new RmaProviderDescriptor<CardOptions>(
            new RmaOptionKeys<CardOptions>(),
            (options, services) => new MisdescribedProvider(new CardProvider(options, services.GetRequiredService<ICardDriver>())))
        {
            SectionName = "access",
            EndpointType = typeof(LibfabricEndpoint),
        };

        public IRmaContext Open() => card.Open();
    }
}
