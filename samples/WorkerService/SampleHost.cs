using System.Net;
using System.Text;
using AllocTools.Doctor;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Mpi;
using AllocTools.Ucx;

namespace WorkerService;

/// <summary>Runs the sample as a generic host: switches over appsettings.json, a pool, its connections, and the work of the role.</summary>
internal static class SampleHost
{
    /// <summary>Builds the host, starts it, and moves the file.</summary>
    /// <returns>The exit code: 1 if the machine was to be examined and has a problem.</returns>
    public static async Task<int> RunAsync(string[] arguments, Report report)
    {
        HostApplicationBuilder builder = CommandLine.CreateBuilder(arguments);
        var options = TransferOptions.From(builder.Configuration.GetSection("Transfer"));
        if (options.Doctor)
            return DoctorCommand.Run(ExaminedOptions(builder.Configuration.GetSection("AllocTools")));
        report.Configure(options, builder.Configuration["Logging:LogLevel:Default"] is "Debug" or "Trace");
        IConfigurationSection section = builder.Configuration.GetSection("AllocTools");
        string? provider = section["Provider:Provider"];
        if (provider is not ("ucx" or "mpi") && section["Provider:LibraryPath"] is null && !LibfabricProvider.IsSupported)
            provider = options.Role == TransferRole.Both ? "host" : throw new TransferException($"{LibfabricProvider.NotSupportedReason} The role {options.Role} needs it.");
        if (provider == "mpi" && options.Role != TransferRole.Both)
            throw new UsageException("With --provider mpi, mpirun starts both sides, and their ranks determine their roles; leave --role out.");
        using SourceFile? file = provider != "mpi" && options.Role is TransferRole.Both or TransferRole.Sender ? await SourceFile.OpenAsync(options) : null;
        // The other process starts at the same time as this one.
        bool isParent = options.Role == TransferRole.Both && provider is not ("mpi" or "host");
        await using ReceiverProcess? child = isParent ? new ReceiverProcess(arguments, options, file!.State, report) : null;

        AddPool(builder.Services, section, provider);
        builder.Services.AddSingleton(report).AddSingleton(options).AddTransient<FileTransfer>().AddRmaConnections(connections =>
        {
            connections.SetUpTimeout = connections.PeerTimeout = TimeSpan.FromSeconds(options.Timeout);
            // This is shorter than the shortest timeout that the other side may have.
            connections.HeartbeatInterval = TimeSpan.FromMilliseconds(250);
            connections.CloseTimeout = TimeSpan.FromSeconds(1);
        });
        if (options.Live)
            builder.Services.AddHostedService<LiveView>();
        builder.AddTelemetry("WorkerService");
        using IHost host = builder.Build();
        await host.StartObservedAsync();
        var lifetime = host.Services.GetRequiredService<IHostApplicationLifetime>();
        _ = report.ParentsWord?.ContinueWith(_ => lifetime.StopApplication(), TaskScheduler.Default);
        IPAddress? node = provider != "mpi" && IPAddress.TryParse(section["Provider:Node"], out IPAddress? own) ? own : null;
        CancellationToken stopping = lifetime.ApplicationStopping;
        try
        {
            await (child is not null ? SendAsync(file!, child)
                : options.Role == TransferRole.Sender ? Transfer().SendAsync(file!, options.Peer, stopping)
                : options.Role != TransferRole.Both ? Transfer().ReceiveAsync(node, ticket => report.ListeningAsync(ticket, provider!), stopping)
                : provider == "mpi" ? RunAsRankAsync((MpiEndpoint)host.Services.GetRequiredService<RmaConnections>().Endpoint)
                : RunInOneProcessAsync(file!));
        }
        finally
        {
            await host.StopAsync(CancellationToken.None);
        }
        return 0;

        FileTransfer Transfer() => host.Services.GetRequiredService<FileTransfer>();

        async Task SendAsync(SourceFile file, ReceiverProcess child)
        {
            try
            {
                await Transfer().SendAsync(file, await child.GetTicketAsync(options.StartTimeout, stopping), stopping);
            }
            catch (Exception e)
            {
                throw await child.FindCauseAsync(e, stopping);
            }
        }

        // Without a fabric, another process can't be reached.
        async Task RunInOneProcessAsync(SourceFile file)
        {
            Console.Error.WriteLine($"{LibfabricProvider.NotSupportedReason} Until then both sides run in this process, without a fabric.");
            var listening = new TaskCompletionSource<string>();
            Task receiving = Transfer().ReceiveAsync(node, ticket => Task.FromResult(listening.TrySetResult(ticket)), stopping);
            try
            {
                if (await Task.WhenAny(listening.Task, receiving) == listening.Task)
                    await Transfer().SendAsync(file, await listening.Task, stopping);
            }
            catch
            {
                await receiving.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                throw;
            }
            await receiving;
        }

        // mpirun has started two ranks: rank 0 sends, and receives the ticket of rank 1 through MPI itself.
        // Both ranks must take part in that exchange. A rank that has failed before sends the reason instead, because
        // the other one would wait for it otherwise.
        async Task RunAsRankAsync(MpiEndpoint endpoint)
        {
            const char Failure = '!';
            if (endpoint.RankCount != 2)
                throw new TransferException($"The sample moves a file between two ranks, and this job has {endpoint.RankCount}. Start it with mpirun -n 2.");
            bool hasExchanged = false;
            try
            {
                using SourceFile? file = endpoint.Rank == 0 ? await SourceFile.OpenAsync(options) : null;
                await (file is not null ? Transfer().SendAsync(file, await ExchangeAsync(""), stopping) : Transfer().ReceiveAsync(node, ExchangeAsync, stopping));
            }
            catch (Exception e) when (!hasExchanged && !stopping.IsCancellationRequested)
            {
                await ExchangeAsync(Failure + Report.LineOf(e));
                throw;
            }

            async Task<string> ExchangeAsync(string own)
            {
                hasExchanged = true;
                string others = Encoding.UTF8.GetString((await endpoint.ExchangeAsync(Encoding.UTF8.GetBytes(own), stopping))[1 - endpoint.Rank].Span);
                return !others.StartsWith(Failure) ? others : throw new TransferException($"The {(endpoint.Rank == 0 ? "receiver" : "sender")} failed: {others[1..]}");
            }
        }
    }

    /// <summary>Returns the options of the examination. The provider's class is the one that <see cref="AddPool"/> chooses for the section.</summary>
    private static DoctorOptions ExaminedOptions(IConfigurationSection section) => new()
    {
        Section = section,
        Provider = section["Provider:Provider"] switch { "ucx" => ProviderKind.Ucx, "mpi" => ProviderKind.Mpi, "host" => ProviderKind.Host, _ => ProviderKind.Libfabric },
    };

    private static void AddPool(IServiceCollection services, IConfigurationSection section, string? provider)
    {
        if (provider == "host")
            services.AddRmaMemoryPool<HostProvider>(section).RequireSection();
        else if (provider == "mpi")
            services.AddRmaMemoryPool<MpiProvider>(section).RequireSection();
        else if (provider == "ucx")
            // Without devices, UCX would listen on the addresses of all of them with TCP.
            services.AddRmaMemoryPool<UcxProvider>(section).RequireSection()
                .ConfigureProvider<UcxOptions>(o => o.Devices ??= section["Provider:Domain"] ?? (section["Provider:Node"] == "127.0.0.1" ? "lo" : null));
        else
            services.AddRmaMemoryPool<LibfabricProvider>(section).RequireSection();
    }
}
