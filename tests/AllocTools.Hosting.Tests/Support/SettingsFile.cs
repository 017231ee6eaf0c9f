using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace AllocTools.Hosting.Tests.Support;

/// <summary>An appsettings.json on disk, and hosts that read and watch it as an application's host does.</summary>
internal sealed class SettingsFile : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("alloctools-");

    public SettingsFile(string json) => Write(json);

    /// <summary>The second file that a host reads, which overrides the first one.</summary>
    public const string OfProduction = "appsettings.Production.json";

    private string Path => System.IO.Path.Combine(_folder.FullName, "appsettings.json");

    public void Write(string json) => Write(Path, json);

    public void WriteProduction(string json) => Write(System.IO.Path.Combine(_folder.FullName, OfProduction), json);

    public void Delete() => File.Delete(Path);

    public HostApplicationBuilder CreateBuilder(ILoggerProvider log, params string[] arguments)
    {
        HostApplicationBuilder builder = Host.CreateApplicationBuilder(new HostApplicationBuilderSettings { ContentRootPath = _folder.FullName, EnvironmentName = Environments.Production, Args = arguments });
        builder.Logging.ClearProviders().SetMinimumLevel(LogLevel.Trace).AddProvider(log);
        return builder;
    }

    public void Dispose() => _folder.Delete(recursive: true);

    /// <summary>Writes the whole file at once: a host that reads a file while it is being written reports it as broken.</summary>
    private static void Write(string path, string json)
    {
        string whole = path + ".new";
        File.WriteAllText(whole, json);
        File.Move(whole, path, overwrite: true);
    }
}
