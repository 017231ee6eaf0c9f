using AllocTools.Frameworks.Tests;
using AllocTools.Frameworks.Tests.Support;

// A test starts this program again as a silo that can be killed.
if (args is ["silo", ..])
    return await SiloProcess.RunAsync(args[1..]);
// Another test starts it as a server on a system without IPv6, which a process has from its start.
if (args is ["any-address"])
    return await WebSide.RunAnyAddressAsync();
// The tests between hosts start it as one of their sides.
switch (args)
{
    case ["grpc-server", var fabric, var address]:
        return await RemoteSides.RunGrpcServerAsync(fabric, address);
    case ["grpc-client", var fabric, var address]:
        return await RemoteSides.RunGrpcClientAsync(fabric, address);
    case ["silo-on-host", var fabric, var primary, var address]:
        return await RemoteSides.RunSiloAsync(fabric, primary, address);
    case ["silo-client-on-host", var fabric, var address]:
        return await RemoteSides.RunSiloClientAsync(fabric, address);
}
return args.Any(static a => a is "--server" or "--internal-msbuild-node")
    ? await Xunit.MicrosoftTestingPlatform.TestPlatformTestFramework.RunAsync(args, SelfRegisteredExtensions.AddSelfRegisteredExtensions)
    : await Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(args);
