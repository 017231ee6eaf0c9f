using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Primitives;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Tests an application whose appsettings.json is edited while it runs.</summary>
public sealed class ReloadTests : IAsyncLifetime
{
    private const string OneBlock = "\"SizeClasses\": [ { \"BlockSize\": \"64 KiB\" } ], \"MaxSlabBytes\": \"64 KiB\", \"Provider\": { \"Locking\": \"None\" }";

    private readonly LogRecorder _log = new();
    private readonly SettingsFile _file = new("{}");
    private IHost? _host;

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    private RmaMemoryPool<HostProvider> Pool => _host!.Services.GetRequiredService<RmaMemoryPool<HostProvider>>();

    [Fact]
    public async Task A_raised_cap_serves_who_waits()
    {
        await StartAsync($$"""{{OneBlock}}, "MaxRegisteredBytes": "64 KiB" """);
        using RmaBuffer all = Pool.Rent(1);
        Task<RmaBuffer> waiter = Pool.RentAsync(1, Cancelled).AsTask();
        Assert.False(waiter.IsCompleted);

        Edit($$"""{{OneBlock}}, "MaxRegisteredBytes": "128 KiB" """);
        (await waiter.WaitAsync(TestHost.Patience, Cancelled)).Dispose();
        Assert.Equal("Pool 'default' applied changed options: MaxRegisteredBytes from 64 KiB (65,536 bytes) to 128 KiB (131,072 bytes).", await _log.Logged(LogRecorder.Reloaded));
        Assert.Equal(131072, Pool.GetStatistics().LimitBytes);
    }

    [Fact]
    public async Task A_cap_below_what_is_out_is_reached_as_buffers_come_back()
    {
        await StartAsync($$"""{{OneBlock}}, "MaxRegisteredBytes": "256 KiB" """);
        RmaBuffer[] rented = [Pool.Rent(1), Pool.Rent(1), Pool.Rent(1)];
        Edit($$"""{{OneBlock}}, "MaxRegisteredBytes": "64 KiB" """);
        await _log.Logged(LogRecorder.Reloaded);

        Assert.Equal((65536, 3 * 65536), (Pool.GetStatistics().LimitBytes, Pool.GetStatistics().RegisteredBytes));
        Assert.False(Pool.TryRent(1, out _));
        foreach (RmaBuffer buffer in rented)
            buffer.Dispose();
        Assert.Equal(65536, Pool.GetStatistics().RegisteredBytes);
        Pool.Rent(1).Dispose();
    }

    [Theory]
    [InlineData("\"IdleRetention\": \"00:05:00\"", "IdleRetention from 00:01:00 to 00:05:00")]
    [InlineData("\"TrimInterval\": \"-00:00:00.001\"", "TrimInterval from 00:00:10 to -00:00:00.0010000")]
    [InlineData("\"RentTimeout\": \"00:00:01.5\"", "RentTimeout from 00:00:30 to 00:00:01.5000000")]
    [InlineData("\"DrainTimeout\": \"00:00:07\"", "DrainTimeout from 00:00:05 to 00:00:07")]
    [InlineData("\"LeakDetection\": \"All\"", "LeakDetection from Off to All")]
    [InlineData("\"MaxRegisteredBytes\": \"2 MiB\", \"LeakDetection\": \"Sampled\"", "MaxRegisteredBytes from 1 GiB (1,073,741,824 bytes) to 2 MiB (2,097,152 bytes), LeakDetection from Off to Sampled")]
    public async Task Each_live_option_is_taken_over(string option, string change)
    {
        await StartAsync(OneBlock);
        Edit($"{OneBlock}, {option}");
        Assert.Equal($"Pool 'default' applied changed options: {change}.", await _log.Logged(LogRecorder.Reloaded));
        Edit(OneBlock);
        await _log.Logged(LogRecorder.Reloaded, times: 2);
        Assert.False(_log.Has(LogRecorder.RestartNeeded));
    }

    [Fact]
    public async Task A_shorter_time_out_holds_for_the_next_wait()
    {
        await StartAsync($$"""{{OneBlock}}, "MaxRegisteredBytes": "64 KiB", "RentTimeout": "01:00:00" """);
        using RmaBuffer all = Pool.Rent(1);
        Edit($$"""{{OneBlock}}, "MaxRegisteredBytes": "64 KiB", "RentTimeout": "00:00:00.001" """);
        await _log.Logged(LogRecorder.Reloaded);
        await Assert.ThrowsAsync<RmaPoolExhaustedException>(() => Pool.RentAsync(1, Cancelled).AsTask());
    }

    [Fact]
    public async Task A_new_drain_time_out_holds_for_the_stop()
    {
        await StartAsync($$"""{{OneBlock}}, "DrainTimeout": "12:00:00" """);
        RmaBuffer leaked = Pool.Rent(1);
        Edit($$"""{{OneBlock}}, "DrainTimeout": "00:00:00.010", "LeakDetection": "All" """);
        await _log.Logged(LogRecorder.Reloaded);
        using (RmaOwner.Begin("ingest"))
            Pool.Rent(1);
        await _host!.StopAsync(Cancelled).WaitAsync(TestHost.Patience, Cancelled);

        Assert.Equal(["Pool 'default' waits for buffers that are still rented, up to 10 ms: 2, rented by ingest (1), an unknown owner (1; LeakDetection and RmaOwner.Begin name owners)."], _log.MessagesOf(LogRecorder.Draining));
        // Only buffers that were rented since then have a known owner.
        Assert.Contains("rented by ingest", Assert.Single(_log.MessagesOf(LogRecorder.StillOut)), StringComparison.Ordinal);
        Assert.Throws<ObjectDisposedException>(leaked.Return);
    }

    [Fact]
    public async Task What_cant_change_in_use_needs_a_restart_and_is_said_once()
    {
        await StartAsync($$"""{{OneBlock}}, "HugePages": "Off" """);
        Edit("""
            "SizeClasses": [ { "BlockSize": "64 KiB", "InitialBlocks": 2 } ], "MaxSlabBytes": 65536, "HugePages": "Transparent", "Provider": { "Locking": "BestEffort" }
            """);
        Assert.Equal(
            "Some changed options of pool 'default' take effect only at the next start: AllocTools:HugePages from 'Off' to 'Transparent', "
            + "AllocTools:Provider:Locking from 'None' to 'BestEffort', AllocTools:SizeClasses:0:InitialBlocks from nothing to '2'.",
            await _log.Logged(LogRecorder.RestartNeeded));
        Edit("""
            "SizeClasses": [ { "BlockSize": "64 KiB", "InitialBlocks": 2 } ], "MaxSlabBytes": 65536, "HugePages": "Transparent", "Provider": { "Locking": "BestEffort" },
            "RentTimeout": "00:00:09"
            """);
        await _log.Logged(LogRecorder.Reloaded);
        Assert.Single(_log.MessagesOf(LogRecorder.RestartNeeded));
        Assert.Equal((RmaHugePages.Off, 0), (Pool.Options.HugePages, Pool.Options.SizeClasses[0].InitialBlocks));
    }

    [Fact]
    public async Task An_invalid_change_is_logged_with_all_that_is_wrong_and_changes_nothing_until_it_is_mended()
    {
        await StartAsync(OneBlock);
        Edit($$"""{{OneBlock}}, "MaxRegisteredBytes": "2 MiB", "RentTimeout": "soon", "TrimIntervall": "00:00:01", "DrainTimeout": "-00:00:05" """);
        Assert.Equal(
            "The changed options of pool 'default' are invalid; it keeps its current options. "
            + "AllocTools:DrainTimeout is -5 seconds; it must be between 0 and 24 hours. "
            + "AllocTools:RentTimeout is 'soon'; it must be a time such as \"00:00:30\", \"30s\", \"500ms\", \"5min\" or \"2h\", or \"never\". "
            + "Unknown option AllocTools:TrimIntervall. Did you mean TrimInterval?",
            await _log.Logged(LogRecorder.ReloadRejected));
        Assert.Equal(1L << 30, Pool.GetStatistics().LimitBytes);
        // A monitor continues, too.
        var monitor = _host!.Services.GetRequiredService<IOptionsMonitor<RmaMemoryPoolOptions>>();
        Assert.Equal(1L << 30, monitor.CurrentValue.MaxRegisteredBytes);

        Edit($$"""{{OneBlock}}, "MaxRegisteredBytes": "2 MiB" """);
        await _log.Logged(LogRecorder.Reloaded);
        Assert.Equal((2 << 20, 2 << 20), (Pool.GetStatistics().LimitBytes, monitor.CurrentValue.MaxRegisteredBytes));
    }

    [Fact]
    public async Task A_cap_that_fits_the_new_classes_but_not_those_in_use_is_refused()
    {
        await StartAsync(OneBlock);
        Edit("\"SizeClasses\": [ { \"BlockSize\": \"4 KiB\" } ], \"MaxRegisteredBytes\": \"8 KiB\"");
        Assert.Equal(
            "The changed options of pool 'default' are invalid; it keeps its current options. "
            + "AllocTools:SizeClasses:0:BlockSize (64 KiB) must not be more than MaxRegisteredBytes (8 KiB): not one block would fit.",
            await _log.Logged(LogRecorder.ReloadRejected));
        Assert.Equal(1L << 30, Pool.GetStatistics().LimitBytes);
    }

    [Fact]
    public async Task The_metrics_say_how_many_changes_there_were_and_whether_the_last_one_was_valid()
    {
        await StartAsync(OneBlock);
        Assert.Equal((0, 0, 1), Reloads());
        Edit($$"""{{OneBlock}}, "MaxRegisteredBytes": "2 MiB" """);
        await _log.Logged(LogRecorder.Reloaded);
        Assert.Equal((1, 0, 1), Reloads());
        Edit($$"""{{OneBlock}}, "MaxRegisteredBytes": "much" """);
        await _log.Logged(LogRecorder.ReloadRejected);
        Assert.Equal((1, 1, 0), Reloads());
        Edit($$"""{{OneBlock}}, "MaxRegisteredBytes": "3 MiB" """);
        await _log.Logged(LogRecorder.Reloaded, times: 2);
        Assert.Equal((2, 1, 1), Reloads());
        _file.Write("{ \"AllocTools\": { \"MaxRegisteredBytes\": ");
        await _log.Logged(LogRecorder.FileBroken);
        Assert.Equal((2, 2, 0), Reloads());
        Edit($$"""{{OneBlock}}, "MaxRegisteredBytes": "4 MiB" """);
        await _log.Logged(LogRecorder.Reloaded, times: 3);
        Assert.Equal((3, 2, 1), Reloads());

        (long Accepted, long Rejected, long Valid) Reloads()
        {
            ILookup<string, Reading> found = Reading.All(_host!.Services).ToLookup(r => r.Instrument);
            return (Of("accepted"), Of("rejected"), Assert.Single(found["rma.pool.configuration.valid {pool}"]).Value);

            long Of(string outcome) => found["rma.pool.reloads {reload}"].Single(r => r.Tags.Contains($"rma.outcome={outcome}", StringComparison.Ordinal)).Value;
        }
    }

    [Fact]
    public async Task A_file_that_is_gone_changes_nothing()
    {
        await StartAsync($$"""{{OneBlock}}, "MaxRegisteredBytes": "2 MiB" """);
        _file.Delete();
        Assert.Equal("The section 'AllocTools' of pool 'default' was removed; the pool keeps its current options.", await _log.Logged(LogRecorder.SectionGone));
        Assert.Equal(2 << 20, Pool.GetStatistics().LimitBytes);

        Edit($$"""{{OneBlock}}, "MaxRegisteredBytes": "4 MiB" """);
        await _log.Logged(LogRecorder.Reloaded);
        Assert.Equal(4 << 20, Pool.GetStatistics().LimitBytes);
    }

    [Fact]
    public async Task A_file_that_is_broken_is_reported_and_changes_nothing_until_it_is_mended()
    {
        await StartAsync($$"""{{OneBlock}}, "MaxRegisteredBytes": "2 MiB" """);
        Task<string> reported = _log.Logged(LogRecorder.FileBroken);
        _file.Write("{ \"AllocTools\": { \"MaxRegisteredBytes\": ");
        Assert.StartsWith("The configuration file 'appsettings.json' can't be read: ", await reported, StringComparison.Ordinal);
        Assert.Contains("LineNumber: 0", await reported, StringComparison.Ordinal);
        Assert.False(_log.Has(LogRecorder.SectionGone));

        Edit($$"""{{OneBlock}}, "MaxRegisteredBytes": "4 MiB" """);
        await _log.Logged(LogRecorder.Reloaded);
        Assert.Equal(["Pool 'default' applied changed options: MaxRegisteredBytes from 2 MiB (2,097,152 bytes) to 4 MiB (4,194,304 bytes)."], _log.MessagesOf(LogRecorder.Reloaded));
    }

    [Fact]
    public async Task While_one_file_is_broken_a_change_of_another_does_not_bring_the_defaults()
    {
        await StartAsync($$"""{{OneBlock}}, "MaxRegisteredBytes": "2 MiB" """);
        _file.Write("{ broken");
        await _log.Logged(LogRecorder.FileBroken);
        var seen = new TaskCompletionSource();
        using IDisposable subscription = ChangeToken.OnChange(_host!.Services.GetRequiredService<IConfiguration>().GetReloadToken, () => seen.TrySetResult());
        _file.WriteProduction("""{ "AllocTools": { "RentTimeout": "00:00:09" } }""");
        await seen.Task.WaitAsync(TestHost.Patience, Cancelled);

        Edit($$"""{{OneBlock}}, "MaxRegisteredBytes": "4 MiB" """);
        await _log.Logged(LogRecorder.Reloaded);
        Assert.Equal(
            ["Pool 'default' applied changed options: MaxRegisteredBytes from 2 MiB (2,097,152 bytes) to 4 MiB (4,194,304 bytes), RentTimeout from 00:00:30 to 00:00:09."],
            _log.MessagesOf(LogRecorder.Reloaded));
        Assert.Single(_log.MessagesOf(LogRecorder.FileBroken));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_the_application_does_about_broken_files_stays_as_it_is(bool ignores)
    {
        List<string> handled = [];
        FileConfigurationSource? source = null;
        await StartAsync($$"""{{OneBlock}}, "MaxRegisteredBytes": "2 MiB" """, builder =>
        {
            source = ((IConfigurationRoot)builder.Configuration).Providers.OfType<FileConfigurationProvider>().First(p => p.Source.Path == "appsettings.json").Source;
            source.OnLoadException = context =>
            {
                handled.Add(context.Exception.GetType().Name);
                context.Ignore = ignores;
            };
        });
        _file.Write("{ broken");
        await _log.Logged(LogRecorder.FileBroken);
        Edit($$"""{{OneBlock}}, "MaxRegisteredBytes": "4 MiB" """);
        await _log.Logged(LogRecorder.Reloaded);
        Assert.Equal(["Pool 'default' applied changed options: MaxRegisteredBytes from 2 MiB (2,097,152 bytes) to 4 MiB (4,194,304 bytes)."], _log.MessagesOf(LogRecorder.Reloaded));
        Assert.Contains(nameof(InvalidDataException), handled);

        await _host!.StopAsync(Cancelled);
        Action<FileLoadExceptionContext>? chained = source!.OnLoadException;
        _host.Dispose();
        _host = null;
        Assert.NotSame(chained, source.OnLoadException);
    }

    [Fact]
    public async Task A_section_whose_files_are_not_the_hosts_is_named()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder(log: _log);
        IConfigurationRoot own = new ConfigurationBuilder().AddInMemoryCollection([new("AllocTools:DrainTimeout", "00:00:01")]).Build();
        builder.Services.AddRmaMemoryPool<HostProvider>(own.GetSection("AllocTools"));
        _host = builder.Build();
        await _host.StartAsync(Cancelled);
        Assert.Equal(
            ["The section 'AllocTools' of pool 'default' is not part of the host's configuration, so errors in its files are not reported."],
            _log.MessagesOf(LogRecorder.FilesNotWatched));
    }

    [Fact]
    public async Task The_same_fault_is_reported_once_and_anew_after_it_was_mended()
    {
        Action<string, string?> change = await StartInMemoryAsync(("DrainTimeout", "00:00:01"));
        for (int i = 0; i < 5; i++)
            change("MaxRegisteredBytes", "-1");
        Assert.Single(_log.MessagesOf(LogRecorder.ReloadRejected));
        change("MaxRegisteredBytes", "-2");
        Assert.Equal(2, _log.MessagesOf(LogRecorder.ReloadRejected).Length);
        change("MaxRegisteredBytes", "2 MiB");
        change("MaxRegisteredBytes", "-2");
        Assert.Equal(3, _log.MessagesOf(LogRecorder.ReloadRejected).Length);
    }

    [Fact]
    public async Task Another_spelling_of_a_value_is_no_change()
    {
        (string, string)[] start =
        [
            ("Provider:Locking", "None"), ("HugePages", "Off"), ("Access", "Local, RemoteRead"), ("ClearOnReturn", "false"), ("MaxSlabBytes", "64 KiB"), ("RentTimeout", "00:00:30"),
        ];
        Action<string, string?> change = await StartInMemoryAsync(start);
        change("Provider:Locking", "none");
        change("HugePages", "off");
        change("Access", "remoteread,LOCAL");
        change("ClearOnReturn", "False");
        change("MaxSlabBytes", "65536");
        change("RentTimeout", "0:0:30.0");
        Assert.False(_log.Has(LogRecorder.RestartNeeded) || _log.Has(LogRecorder.Reloaded));
        change("Provider:Locking", "besteffort");
        Assert.Equal(
            ["Some changed options of pool 'default' take effect only at the next start: AllocTools:Provider:Locking from 'None' to 'BestEffort'."],
            _log.MessagesOf(LogRecorder.RestartNeeded));
    }

    [Fact]
    public async Task Monitors_show_what_is_in_force_under_both_names_of_the_unnamed_pool()
    {
        Action<string, string?> change = await StartInMemoryAsync(("MaxRegisteredBytes", "2 MiB"));
        var monitor = _host!.Services.GetRequiredService<IOptionsMonitor<RmaMemoryPoolOptions>>();
        Assert.Equal(2 << 20, monitor.Get(RmaMemoryPoolName.Default).MaxRegisteredBytes);
        change("MaxRegisteredBytes", "4 MiB");
        change("MaxRegisteredBytes", "-1");
        Assert.Equal((4 << 20, 4 << 20), (monitor.CurrentValue.MaxRegisteredBytes, monitor.Get(RmaMemoryPoolName.Default).MaxRegisteredBytes));
    }

    [Fact]
    public async Task What_changes_during_the_warm_up_is_taken_over_or_said_to_need_a_restart()
    {
        using var warming = new ManualResetEventSlim();
        using var changed = new ManualResetEventSlim();
        HostApplicationBuilder builder = InMemory([("SizeClasses:0:BlockSize", "4 KiB"), ("SizeClasses:0:InitialBlocks", "1")]);
        builder.Services.AddSingleton(new Journal
        {
            Registers = () =>
            {
                warming.Set();
                Assert.True(changed.Wait(TestHost.Patience, Cancelled));
            },
        });
        builder.Services.AddRmaMemoryPool<RecordingProvider>(builder.Configuration.GetSection("AllocTools"));
        // The second pool starts after the warm-up of the first one, with options that were bound before.
        builder.Services.AddRmaMemoryPool<HostProvider>("second", builder.Configuration.GetSection("Second"));
        _host = builder.Build();
        Task start = _host.StartAsync(Cancelled);
        Assert.True(warming.Wait(TestHost.Patience, Cancelled));
        builder.Configuration["AllocTools:RentTimeout"] = "00:00:09";
        builder.Configuration["AllocTools:HugePages"] = "Off";
        builder.Configuration["Second:RentTimeout"] = "00:00:08";
        ((IConfigurationRoot)builder.Configuration).Reload();
        changed.Set();
        await start;

        Assert.Equal(TimeSpan.FromSeconds(9), _host.Services.GetRequiredService<RmaMemoryPool<RecordingProvider>>().Options.RentTimeout);
        Assert.Equal(TimeSpan.FromSeconds(8), _host.Services.GetRequiredKeyedService<RmaMemoryPool<HostProvider>>("second").Options.RentTimeout);
        Assert.Equal(
            ["Some changed options of pool 'default' take effect only at the next start: AllocTools:HugePages from nothing to 'Off'."],
            _log.MessagesOf(LogRecorder.RestartNeeded));
    }

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        if (_host is not null)
        {
            await _host.StopAsync(Cancelled);
            _host.Dispose();
        }
        _file.Dispose();
        _log.Dispose();
    }

    private void Edit(string options) => _file.Write($$"""{ "AllocTools": { {{options}} } }""");

    private async Task StartAsync(string options, Action<HostApplicationBuilder>? configure = null)
    {
        Edit(options);
        HostApplicationBuilder builder = _file.CreateBuilder(_log);
        configure?.Invoke(builder);
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        _host = builder.Build();
        await _host.StartAsync(Cancelled);
    }

    /// <summary>Starts a pool whose options are changed in memory.</summary>
    /// <returns>An action that changes an option, and returns when the pool has seen the change.</returns>
    private async Task<Action<string, string?>> StartInMemoryAsync(params (string Key, string Value)[] options)
    {
        HostApplicationBuilder builder = InMemory(options);
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        _host = builder.Build();
        await _host.StartAsync(Cancelled);
        return (key, value) =>
        {
            builder.Configuration[$"AllocTools:{key}"] = value;
            ((IConfigurationRoot)builder.Configuration).Reload();
        };
    }

    private HostApplicationBuilder InMemory((string Key, string Value)[] options)
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder(log: _log);
        builder.Configuration.AddInMemoryCollection(options.Select(o => KeyValuePair.Create($"AllocTools:{o.Key}", (string?)o.Value)));
        return builder;
    }
}
