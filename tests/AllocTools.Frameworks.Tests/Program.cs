using AllocTools.Frameworks.Tests;
using AllocTools.Frameworks.Tests.Support;

// A test starts this program again as a silo that can be killed.
if (args is ["silo", ..])
    return await SiloProcess.RunAsync(args[1..]);
// And as a server on a system without IPv6, which a process has from its start.
if (args is ["any-address"])
    return await WebSide.RunAnyAddressAsync();
return args.Any(static a => a is "--server" or "--internal-msbuild-node")
    ? await Xunit.MicrosoftTestingPlatform.TestPlatformTestFramework.RunAsync(args, SelfRegisteredExtensions.AddSelfRegisteredExtensions)
    : await Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(args);
