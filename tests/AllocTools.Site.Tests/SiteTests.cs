using System.Diagnostics;
using System.Net;
using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using AllocTools.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.FileProviders;
using Microsoft.Extensions.Logging;
using PuppeteerSharp;
using PuppeteerSharp.Media;
using Xunit;

namespace AllocTools.Site.Tests;

/// <summary>
/// Tests that <c>eng/site</c> builds the site without a warning, and that its pages work in a browser without a
/// network.
/// </summary>
[Collection(SiteTests.Builds)]
public sealed class SiteTests(BuiltSite site) : IClassFixture<BuiltSite>
{
    /// <summary>
    /// The collection of tests that build projects: they write to the same folders, so they run one after the other.
    /// </summary>
    internal const string Builds = "builds";

    public static TheoryData<string, string, string> Pages => new()
    {
        { "docs/index.html", "The path through the documents", "A table" },
        { "docs/concepts.html", "Concepts", "A drawing" },
        { "docs/troubleshooting.html", "Troubleshooting", "A table" },
        { "README.html", "AllocTools", "A table" },
        { "api/AllocTools.IRmaMemoryPool.html", "Interface IRmaMemoryPool", "A signature" },
        { "api/AllocTools.Connections.RmaConnection.html", "Class RmaConnection", "A signature" },
    };

    [Theory]
    [MemberData(nameof(Pages))]
    public async Task APageIsThereWithItsHeadingNavigationAndPictures(string path, string heading, string content)
    {
        List<string> faults = [];
        await using IPage page = await site.OpenAsync(path, faults);
        Assert.Equal(heading, (await page.EvaluateExpressionAsync<string>("document.querySelector('article h1').textContent")).Trim());
        Assert.Contains("AllocTools", await page.GetTitleAsync(), StringComparison.Ordinal);
        // The bar is at the top, and the contents are at the side if there are any.
        await page.WaitForSelectorAsync("#navbar .nav-link");
        Assert.True(await page.EvaluateExpressionAsync<int>("document.querySelectorAll('#navbar .nav-link').length") >= 4);
        if (path.Contains('/', StringComparison.Ordinal))
            await page.WaitForSelectorAsync("#toc a[href]");
        string selector = content switch { "A drawing" => "article img", "A signature" => "article pre code", _ => "article table" };
        Assert.NotNull(await page.QuerySelectorAsync(selector));
        Assert.Equal(0, await page.EvaluateExpressionAsync<int>("[...document.images].filter(image => !(image.complete && image.naturalWidth > 0)).length"));
        Assert.True(faults.Count == 0, string.Join('\n', faults));
    }

    /// <summary>Wide tables and code scroll separately, and the page does not.</summary>
    [Theory]
    [InlineData("docs/concepts.html", 400)]
    [InlineData("docs/concepts.html", 1280)]
    [InlineData("docs/troubleshooting.html", 400)]
    [InlineData("docs/configuration.html", 400)]
    [InlineData("api/AllocTools.RmaBuffer.html", 400)]
    public async Task APageIsNoWiderThanItsWindow(string path, int width)
    {
        List<string> faults = [];
        await using IPage page = await site.OpenAsync(path, faults, width);
        Assert.InRange(await page.EvaluateExpressionAsync<int>("document.documentElement.scrollWidth"), 1, width);
        Assert.Empty(faults);
    }

    [Fact]
    public async Task TheFirstPageLeadsToThePath()
    {
        List<string> faults = [];
        await using IPage page = await site.OpenAsync("index.html", faults);
        await page.WaitForSelectorAsync("article h1");
        Assert.EndsWith("/docs/index.html", page.Url, StringComparison.Ordinal);
    }

    /// <summary>Text and background of the drawings differ, in a light and in a dark page.</summary>
    [Theory]
    [InlineData("light")]
    [InlineData("dark")]
    public async Task TheDrawingsCanBeReadInBothSchemes(string scheme)
    {
        foreach (string drawing in new[] { "pool", "write", "parts" })
        {
            List<string> faults = [];
            await using IPage page = await site.OpenAsync($"docs/images/{drawing}.svg", faults, scheme: scheme);
            double contrast = await page.EvaluateFunctionAsync<double>("""
                () => {
                    const luminance = selector => {
                        const parts = getComputedStyle(document.querySelector(selector)).fill.match(/\d+/g).slice(0, 3)
                            .map(value => value / 255).map(c => c <= 0.03928 ? c / 12.92 : Math.pow((c + 0.055) / 1.055, 2.4));
                        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
                    };
                    const text = luminance('text');
                    return Math.min(...['.bg', '.box', '.inner', '.used'].filter(s => document.querySelector(s))
                        .map(luminance).map(back => (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05)));
                }
                """);
            // WCAG 2 asks for 4.5 at ordinary sizes.
            Assert.InRange(contrast, 4.5, 21);
        }
    }

    /// <summary>The reference contains all public types of each library in src, whatever eng/site has chosen.</summary>
    [Fact]
    public void EachLibraryIsInTheReference()
    {
        string[] projects = [.. Directory.EnumerateDirectories(Path.Combine(Repository.Root, "src")).SelectMany(folder => Directory.EnumerateFiles(folder, "*.csproj"))];
        string[] libraries = [.. projects.Where(path => File.ReadAllText(path) is var project && !project.Contains("<OutputType>Exe<", StringComparison.Ordinal) && !project.Contains("<PackageType>Template<", StringComparison.Ordinal)).Select(path => Path.GetFileNameWithoutExtension(path))];
        Assert.Contains("AllocTools.Doctor", libraries);
        string[] missing = [.. libraries.SelectMany(PublicTypes).Where(type => !File.Exists(Path.Combine(site.Folder, "api", $"{type}.html")))];
        Assert.True(missing.Length == 0, string.Join('\n', missing));
    }

    // The assembly is read but not loaded: its references need not be available.
    private static string[] PublicTypes(string library)
    {
        using PEReader file = new(File.OpenRead(Path.Combine(Repository.Root, "artifacts", "bin", library, "release", $"{library}.dll")));
        MetadataReader reader = file.GetMetadataReader();
        string[] types = [.. reader.TypeDefinitions.Select(reader.GetTypeDefinition)
            .Where(type => (type.Attributes & TypeAttributes.VisibilityMask) == TypeAttributes.Public && type.GetGenericParameters().Count == 0)
            .Select(type => $"{reader.GetString(type.Namespace)}.{reader.GetString(type.Name)}")];
        Assert.NotEmpty(types);
        return types;
    }
}

/// <summary>The built site, served on the loopback interface, and a browser.</summary>
public sealed class BuiltSite : IAsyncLifetime
{
    private WebApplication? _server;
    private IBrowser? _browser;
    private string _address = "";

    public string Folder { get; } = Path.Combine(Repository.Root, "artifacts", "site");

    public async ValueTask InitializeAsync()
    {
        using Process build = Process.Start(new ProcessStartInfo(Path.Combine(Repository.Root, "eng", "site"), ["--built"]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        Task<string> errors = build.StandardError.ReadToEndAsync();
        string output = await build.StandardOutput.ReadToEndAsync();
        await build.WaitForExitAsync();
        Assert.True(build.ExitCode == 0, output + await errors);
        Assert.Contains(" 0 warning(s)", output, StringComparison.Ordinal);

        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        _server = builder.Build();
        _server.Urls.Add("http://127.0.0.1:0");
        _server.UseFileServer(new FileServerOptions { FileProvider = new PhysicalFileProvider(Folder) });
        await _server.StartAsync();
        _address = _server.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();
        _browser = await Puppeteer.LaunchAsync(new LaunchOptions
        {
            ExecutablePath = FindBrowser(),
            Headless = true,
            // Root has no sandbox. Requests beyond the loopback interface go to a proxy that does not exist.
            Args = ["--no-sandbox", "--disable-dev-shm-usage", "--proxy-server=127.0.0.1:9"],
        });
    }

    /// <summary>
    /// Returns the browser that eng/test found or installed: the names of <c>install_browser</c> in eng/lib.sh.
    /// </summary>
    private static string FindBrowser()
    {
        string[] names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
        return names.SelectMany(name => Environment.GetEnvironmentVariable("PATH")!.Split(':').Select(folder => Path.Combine(folder, name))).FirstOrDefault(File.Exists)
            ?? throw new InvalidOperationException($"There is no browser on the PATH. Install one of these: {string.Join(", ", names)}.");
    }

    /// <summary>Opens a page, waits until it has loaded completely, and notes everything that goes wrong in it.</summary>
    internal async Task<IPage> OpenAsync(string path, List<string> faults, int width = 1280, string scheme = "light")
    {
        IPage page = await _browser!.NewPageAsync();
        page.Console += (_, e) =>
        {
            if (e.Message.Type == ConsoleType.Error)
                faults.Add($"{path}: {e.Message.Text}");
        };
        page.PageError += (_, e) => faults.Add($"{path}: {e.Message}");
        page.RequestFailed += (_, e) => faults.Add($"{path}: {e.Request.Url} failed.");
        page.Request += (_, e) =>
        {
            if (!e.Request.Url.StartsWith(_address, StringComparison.Ordinal) && !e.Request.Url.StartsWith("data:", StringComparison.Ordinal))
                faults.Add($"{path}: {e.Request.Url} is not of the site.");
        };
        page.Response += (_, e) =>
        {
            if (e.Response.Status >= HttpStatusCode.BadRequest)
                faults.Add($"{path}: {e.Response.Url} gave {e.Response.Status}.");
        };
        await page.SetViewportAsync(new ViewPortOptions { Width = width, Height = 900 });
        await page.EmulateMediaFeaturesAsync([new MediaFeatureValue { MediaFeature = MediaFeature.PrefersColorScheme, Value = scheme }]);
        await page.GoToAsync($"{_address}/{path}", WaitUntilNavigation.Networkidle0);
        return page;
    }

    public async ValueTask DisposeAsync()
    {
        if (_browser is not null)
            await _browser.DisposeAsync();
        if (_server is not null)
            await _server.DisposeAsync();
    }
}
