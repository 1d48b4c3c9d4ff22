return { start=function() end, traceback=debug.traceback, on_request=function() end, attach=function() end }
