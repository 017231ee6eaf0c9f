using System.Net;
using WorkerService.Observing;
using WorkerService.Reporting;

namespace WorkerService.Application;

/// <summary>Runs the sample as a generic host: switches over appsettings.json, and one line where something fails.</summary>
internal static class SampleApplication
{
    /// <summary>Builds the host, runs it until the transfer has ended, and says how.</summary>
    /// <param name="arguments">The process's arguments.</param>
    /// <param name="configure">Adds pools and services.</param>
    /// <returns>The process's <see cref="ExitCode"/>.</returns>
    public static async Task<int> RunAsync(string[] arguments, Action<HostApplicationBuilder> configure)
    {
        CommandLine commandLine;
        try
        {
            commandLine = CommandLine.Parse(arguments);
        }
        catch (UsageException e)
        {
            new TerminalReport().Failed(e);
            return ExitCode.Usage;
        }
        if (commandLine.HelpWanted)
        {
            Console.Out.Write(CommandLine.Help);
            return ExitCode.Success;
        }
        ITransferReport report = commandLine.IsStartedByParent ? new ParentReport() : new TerminalReport(commandLine.IsLive);
        var outcome = new Outcome(report, commandLine);
        try
        {
            HostApplicationBuilder builder = CreateBuilder(commandLine);
            builder.Services.AddSingleton(commandLine);
            builder.Services.AddSingleton(report);
            builder.Services.AddSingleton(outcome);
            configure(builder);
            await RunAsync(builder);
        }
        catch (Exception e)
        {
            outcome.Fail(e);
        }
        return outcome.ExitCodeOrFailure;
    }

    private static async Task RunAsync(HostApplicationBuilder builder)
    {
        try
        {
            await builder.Build().RunAsync();
        }
        catch (InvalidOperationException e) when (e.InnerException is HttpListenerException refused)
        {
            throw TelemetryServices.CannotListen(builder, refused);
        }
    }

    private static HostApplicationBuilder CreateBuilder(CommandLine commandLine)
    {
        // Nothing is reloaded while a file is on its way; watching would only use up one of the user's few inotify instances.
        var configuration = new ConfigurationManager();
        configuration.AddInMemoryCollection([new("hostBuilder:reloadConfigOnChange", "false")]);
        HostApplicationBuilder builder;
        try
        {
            builder = Host.CreateApplicationBuilder(new HostApplicationBuilderSettings
            {
                Configuration = configuration,
                // appsettings.json stands beside the program, wherever it is called from.
                ContentRootPath = AppContext.BaseDirectory,
            });
        }
        catch (InvalidDataException e)
        {
            throw new UsageException($"{e.Message} {e.InnerException?.Message}");
        }
        builder.Configuration.AddInMemoryCollection(commandLine.Settings);
        // The standard output is for results.
        builder.Logging.AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
        return builder;
    }
}
